"""Generated mazes are connected, have the rooms they should, and differ from episode to episode."""

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import morello
from morello.envs.labyrinth.kernels.items import KIND
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.level import Level, MazeGenerator
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.textures import TEXTURES

B = 400


def flood(walls: NDArray[np.uint8], start: tuple[int, int]) -> NDArray[np.bool_]:
    """Cells that can be walked to."""
    height, width = walls.shape[1] - 1, walls.shape[2] - 1
    seen = np.zeros((height, width), bool)
    seen[start] = True
    while True:
        grown = seen.copy()
        grown[:, 1:] |= seen[:, :-1] & (walls[0, :-1, 1:-1] == 0)
        grown[:, :-1] |= seen[:, 1:] & (walls[0, :-1, 1:-1] == 0)
        grown[1:] |= seen[:-1] & (walls[1, 1:-1, :-1] == 0)
        grown[:-1] |= seen[1:] & (walls[1, 1:-1, :-1] == 0)
        if (grown == seen).all():
            return seen
        seen = grown


def worlds(name: str = "explore_goal_locations_small", count: int = B, seed: int = 1) -> Labyrinth:
    env = morello.make(f"labyrinth:{name}", count, seed=seed, frame_size=(1, 1))
    assert isinstance(env, Labyrinth)
    env.reset()
    return env


def place(cell: int, width: int = 11) -> tuple[int, int]:
    return cell // width, cell % width


@pytest.fixture(scope="module")
def env() -> Labyrinth:
    return worlds()


def ground(env: Labyrinth, b: int) -> NDArray[np.bool_]:
    return flood(env.world.walls[b].numpy(), place(int(env.world.spawn_cell[b, 0])))


def test_all_starts_and_goals_are_connected_and_the_border_is_closed(env: Labyrinth) -> None:
    for b in range(B):
        free = ground(env, b)
        assert not free[[0, -1]].any()
        assert not free[:, [0, -1]].any()
        starts = [c for c in env.world.spawn_cell[b].tolist() if c >= 0]
        objects = [c for c in env.world.object_cell[b].tolist() if c >= 0]
        assert len(starts) * 4 == len(objects) * 5
        assert 5 <= len(starts) <= 20
        assert len({*starts, *objects}) == len(starts) + len(objects)
        assert all(free[place(c)] for c in starts + objects)


def test_walls_stand_exactly_between_ground_and_rock(env: Labyrinth) -> None:
    for b in range(B):
        free, walls = np.pad(ground(env, b), 1), env.world.walls[b].numpy() > 0
        assert (walls[0, :-1] == (free[1:-1, 1:] != free[1:-1, :-1])).all()
        assert (walls[1, :, :-1] == (free[1:, 1:-1] != free[:-1, 1:-1])).all()


def test_corridors_have_no_dead_ends_and_rooms_their_sizes(env: Labyrinth) -> None:
    rooms = Counter()
    for b in range(B):
        free = ground(env, b)
        padded = np.pad(free, 1)
        exits = padded[2:, 1:-1].astype(int) + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2]
        assert (exits[free] >= 2).all()
        rooms[sum(c >= 0 for c in env.world.object_cell[b].tolist()) // 4] += 1
        for c in env.world.spawn_cell[b].tolist():
            if c >= 0:  # every start lies in some open 3 x 3 block
                i, j = place(c)
                corners = [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)]  # south-west, in ``padded``
                assert any(padded[y : y + 3, x : x + 3].sum() == 9 for y, x in corners)
    assert max(rooms) == 4
    assert rooms[4] > B / 2


def test_decals_hang_on_a_tenth_of_the_walls(env: Labyrinth) -> None:
    level = LEVELS["explore_goal_locations_small"]
    textures = env.world.walls[env.world.walls > 0].tolist()
    count = Counter(textures)
    decals = {TEXTURES[name] for name in level.decals}
    assert set(count) == {TEXTURES[level.wall], *decals}
    share = sum(count[d] for d in decals) / len(textures)
    assert abs(share - 0.1) < 3 * (0.09 / len(textures)) ** 0.5
    assert max(count[d] for d in decals) < 1.5 * min(count[d] for d in decals)


def test_the_goal_stays_for_the_episode_and_sends_the_agent_to_a_start() -> None:
    env = worlds(count=200)
    walls, goal = env.world.walls.clone(), env.world.goal_cell.clone()
    assert all(g in env.world.object_cell[b].tolist() for b, g in enumerate(goal.tolist()))
    for finds in (1, 2):
        env.world.position[:] = env.world.item_position[:, 0]
        now = env.step(torch.full((200,), 8))
        assert (now.reward == 10).all()
        assert not now.last.any()
        assert (env.world.restarts == finds).all()
        at = (env.world.position // 100).long()
        assert all(int(i * 11 + j) in env.world.spawn_cell[b].tolist() for b, (j, i) in enumerate(at.tolist()))
        assert torch.equal(env.world.walls, walls)
        assert torch.equal(env.world.goal_cell, goal)
        assert (env.world.item_kind[:, 0] == KIND["goal"]).all()
    env.reset()
    assert (env.world.walls != walls).flatten(1).any(1).all()


def test_mazes_differ_between_environments_seeds_and_episodes(env: Labyrinth) -> None:
    first = {env.world.walls[b].numpy().tobytes() for b in range(B)}
    other = {w.numpy().tobytes() for w in worlds(seed=2).world.walls}
    assert len(first) == len(other) == B
    assert not first & other


@pytest.mark.parametrize(
    "wrong", [{"height": 10}, {"room_max": 11}, {"room_min": 7}, {"room_starts": 6}, {"rooms": 0}, {"room_objects": 0}]
)
def test_impossible_mazes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="room"):
        MazeGenerator(**{"height": 11, "width": 11, "rooms": 4} | wrong)


def test_extra_connections_add_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Level("few", "", MazeGenerator(17, 17, 9, room_max=3), seconds=1)
    many = Level("many", "", MazeGenerator(17, 17, 9, room_max=3, extra_connections=0.5), seconds=1)
    monkeypatch.setitem(LEVELS, "few", few)
    monkeypatch.setitem(LEVELS, "many", many)
    area = {}
    for name in ("few", "many"):
        w = worlds(name, 60)
        grounds = [flood(w.world.walls[b].numpy(), place(int(w.world.spawn_cell[b, 0]), 17)) for b in range(60)]
        area[name] = np.mean([g.sum() for g in grounds])
        assert all(g[place(c, 17)] for b, g in enumerate(grounds) for c in w.world.object_cell[b].tolist() if c >= 0)
    assert area["many"] > area["few"] + 5
