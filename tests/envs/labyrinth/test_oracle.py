"""The scripted oracle plays well, and what it scored is on record."""

import itertools
import json

import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.level import Level, ThinWalls
from morello.envs.labyrinth.levels import LEVELS, SCORES, recorded_scores
from morello.envs.labyrinth.oracle.distances import FAR, distance_fields, sample, shortest_tour
from morello.envs.labyrinth.oracle.player import Oracle
from morello.envs.labyrinth.oracle.scores import episode_returns, summary


@pytest.mark.parametrize(
    ("level", "steps", "oracle", "random"),
    [
        ("seekavoid_arena_01", 300, 40, 5),
        ("nav_maze_static_01", 150, 25, 5),
        ("nav_maze_random_goal_01", 150, 20, 5),
        ("explore_goal_locations_small", 120, 20, 10),
        ("my_way_home_very_sparse", 110, 0.9, 0),
        ("rooms_chain_4", 60, 1, 0),
    ],
)
def test_the_oracle_beats_random_play(level: str, steps: int, oracle: float, random: float) -> None:
    score = {}
    for player in ("oracle", "random"):
        env = morello.make(f"labyrinth:{level}", 3, seed=8, frame_size=(1, 1))
        assert isinstance(env, Labyrinth)
        script, generator, now = Oracle(env), torch.Generator().manual_seed(1), env.reset()
        total, over = torch.zeros(3), torch.zeros(3, dtype=torch.bool)
        for _ in range(steps):
            drawn = torch.randint(env.spec.num_actions, (3,), generator=generator)
            now = env.step(script.act(now) if player == "oracle" else drawn)
            total += torch.where(over, 0, now.reward)
            over |= now.last
        score[player] = total.mean().item()
    assert score["oracle"] >= oracle
    assert score["random"] <= random


def test_the_oracle_clears_a_level_whose_starts_are_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "+-+-+-+\n|P A A|\n+-+-+-+"
    monkeypatch.setitem(LEVELS, "row", Level("row", "", ThinWalls(text), 8, restart_when_cleared=True))
    assert episode_returns("row", "oracle", 2, 0).min() >= 4  # all apples, again and again


def test_imagining_changes_nothing() -> None:
    envs = [morello.make("labyrinth:nav_maze_static_01", 2, seed=3, frame_size=(1, 1)) for _ in range(2)]
    assert isinstance(envs[0], Labyrinth)
    oracle, now, _ = Oracle(envs[0]), envs[0].reset(), envs[1].reset()
    for _ in range(20):
        action = oracle.act(now)
        now, twin = envs[0].step(action), envs[1].step(action)
        assert torch.equal(now.info["position"], twin.info["position"])


def test_the_oracle_declines_mixed_tasks() -> None:
    env = morello.make("labyrinth:seekavoid_arena_01+nav_maze_static_01", 2, frame_size=(1, 1))
    assert isinstance(env, Labyrinth)
    with pytest.raises(UserError, match="one level"):
        Oracle(env)


def test_distance_fields_by_hand() -> None:
    cost = torch.ones(1, 5, 7)
    cost[0, :4, 3] = torch.inf  # a wall with a gap in the last row
    cost[0, 4, 5] = 3.0
    field = distance_fields(cost, torch.tensor([[0.0, 0.0]]), 2.0)[0]
    assert field[0, 0] == 0
    assert field[2, 1] == pytest.approx(2 * (1 + 2**0.5))
    assert field[0, 3] == FAR
    to_gap = 2 * (3 * 2**0.5 + 1)  # to (4, 3): three diagonals and one straight
    assert field[4, 3] == pytest.approx(to_gap)
    assert field[4, 4] == pytest.approx(to_gap + 2)
    assert field[4, 5] == pytest.approx(to_gap + 2 + 6)
    assert field[4, 6] == pytest.approx(to_gap + 2 + 2 * 2 * 2**0.5)  # round the dear place
    at = sample(field[None], torch.tensor([0]), torch.tensor([[2.0, 4.0]]), 2.0)
    assert at[0] == field[2, 1]


def test_the_shortest_tour_is_the_best_of_all_orders() -> None:
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        points = torch.rand(7, 2, generator=generator)
        between, first = torch.cdist(points, points), points.norm(dim=1)
        order = shortest_tour(first, between).tolist()

        def length(tour: tuple[int, ...]) -> float:
            return float(first[tour[0]] + sum(between[a, b] for a, b in itertools.pairwise(tour)))

        assert sorted(order) == list(range(7))
        assert length(tuple(order)) == pytest.approx(min(map(length, itertools.permutations(range(7)))))


def test_scores_on_record_are_of_levels_and_make_sense() -> None:
    recorded = json.loads(SCORES.read_text())
    assert len(recorded) >= 13
    assert recorded.keys() <= LEVELS.keys()
    for level in recorded:
        random, oracle = recorded_scores(level)["random"], recorded_scores(level)["oracle"]
        assert random["episodes"] >= 100
        if "coverage" in recorded_scores(level):
            assert random["mean"] == oracle["mean"] == 0
            random, oracle = recorded_scores(level)["coverage"]["random"], recorded_scores(level)["coverage"]["oracle"]
        assert oracle["low"] > random["high"]
        assert random["low"] <= random["mean"] <= random["high"]


def test_the_record_can_be_made_again() -> None:
    record = recorded_scores("my_way_home_sparse")["oracle"]
    again = summary(episode_returns("my_way_home_sparse", "oracle", 2, 2026))
    assert again["mean"] == pytest.approx(record["mean"], abs=1e-3)
