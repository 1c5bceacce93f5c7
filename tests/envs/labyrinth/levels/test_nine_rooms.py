"""Nine rooms: no reward, every room within reach, and an oracle that visits almost every cell."""

import numpy as np
import pytest
import torch

from morello.envs.labyrinth.levels import LEVELS, recorded_scores
from morello.envs.labyrinth.maps import plan
from morello.envs.labyrinth.oracle.player import Oracle
from morello.envs.labyrinth.oracle.scores import play

from ....support.levels import cells, distances, labyrinth, wait

NAMES = ("nine_rooms", "nine_rooms_tv", "nine_rooms_remote")
CELLS = 9 * 9 + 12  # of rooms and of openings


@pytest.mark.parametrize("name", NAMES)
def test_every_room_can_be_reached_and_nothing_pays(name: str) -> None:
    p = plan(LEVELS[name])
    assert p.items == []
    assert p.open.sum() == CELLS
    way = distances(p.walls, (2, 2))
    assert (way[p.open] >= 0).all()
    assert way[10, 10] == 16, "the farthest room is four openings away"
    env = labyrinth(name, 3)
    assert cells(env.world.position) == [(2, 2)] * 3
    assert env.spec.success == (False,)
    for t in range(1, 901):
        now = wait(env, t % 2)
        assert (now.reward == 0).all()
        assert now.last.all() == (t == 900)


def test_the_television_changes_neither_map_nor_motion() -> None:
    maps = [plan(LEVELS[name]).walls for name in NAMES]
    assert all(np.array_equal(maps[0], walls) for walls in maps)


def test_the_oracle_visits_almost_every_cell() -> None:
    returns, visited = play("nine_rooms", "oracle", 2, 5)
    assert returns.tolist() == [0, 0]
    assert visited.min() > 0.9 * CELLS
    assert visited.max() == CELLS


def test_the_oracle_begins_anew_with_each_episode() -> None:
    env = labyrinth("nine_rooms", 2)
    oracle, now = Oracle(env), env.reset()
    for _ in range(40):
        now = env.step(oracle.act(now))
    oracle.act(now)
    assert (oracle.visited.sum(1) > 4).all()
    oracle.act(env.reset(mask=torch.tensor([True, False])))
    assert oracle.visited[0].nonzero().flatten().tolist() == [2 * 13 + 2]
    assert oracle.visited[1].sum() > 4


def test_coverage_is_on_record() -> None:
    for name in NAMES:
        coverage = recorded_scores(name)["coverage"]
        assert 5 < coverage["random"]["mean"] < CELLS / 3
        assert CELLS - 1 < coverage["oracle"]["mean"] <= CELLS
    assert "coverage" not in recorded_scores("rooms_chain_2")
