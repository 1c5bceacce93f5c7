"""Mazes to find one's way in: goals, apples, starts and restarts."""

from collections import Counter

import numpy as np
import pytest
import torch

from morello.envs.labyrinth.kernels.items import KIND
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.maps import plan

from ....support.levels import cells, distances, labyrinth, put, wait


@pytest.mark.parametrize(
    ("number", "shape", "apples", "starts"), [(1, (5, 10), 5, 43), (2, (9, 15), 13, 128), (3, (13, 20), 26, 251)]
)
def test_static_mazes_restart_at_the_goal(number: int, shape: tuple[int, int], apples: int, starts: int) -> None:
    name = f"nav_maze_static_{number:02}"
    p = plan(LEVELS[name])
    assert p.open.shape == shape
    assert Counter(kind for kind, *_ in p.items) == {"apple": apples, "goal": 1}
    assert len(set(p.starts)) == starts
    assert (distances(p.walls, (0, 0)) >= 0).all()
    inner = np.count_nonzero(p.walls[0, :-1, 1:-1]) + np.count_nonzero(p.walls[1, 1:-1, :-1])
    ways = 2 * shape[0] * shape[1] - sum(shape) - inner
    assert ways > shape[0] * shape[1] - 1, "a few loops: more ways than a tree has"
    env = labyrinth(name, 300)
    begun = Counter(cells(env.world.position))
    goal = int((env.world.item_kind[0] == KIND["goal"]).nonzero())
    apple = int((env.world.item_kind[0] == KIND["apple"]).nonzero()[0])
    assert cells(env.world.item_position[0, [goal]])[0] not in begun
    put(env, env.world.item_position[:, apple])
    assert (wait(env).reward == 1).all()
    assert (env.world.item_kind[:, apple] == 0).all()
    put(env, env.world.item_position[:, goal])
    now = wait(env)
    assert ((now.reward == 10) | (now.reward == 11)).all()  # an apple may lie at the new start
    assert (now.discount == 1).all()
    assert not now.last.any()
    assert (env.world.restarts == 1).all()
    again = Counter(cells(env.world.position))
    assert begun != again
    everywhere = {(int(y // 100), int(x // 100)) for x, y, _ in p.starts}
    assert set(begun) | set(again) <= everywhere
    assert (env.world.item_kind[:, goal] == KIND["goal"]).all()
    missing = (env.world.item_kind == 0).any(1)
    assert torch.equal(missing, now.reward == 11)  # apples back


@pytest.mark.parametrize(("number", "apples"), [(1, 4), (2, 13), (3, 25)])
def test_random_goal_mazes(number: int, apples: int) -> None:
    B, name = 600, f"nav_maze_random_goal_{number:02}"
    env = labyrinth(name, B, seed=number)
    walls = plan(LEVELS[name]).walls
    assert (walls > 0).tolist() == (plan(LEVELS[f"nav_maze_static_{number:02}"]).walls > 0).tolist()
    height, width = walls.shape[1] - 1, walls.shape[2] - 1
    home = env.world.home_kind.clone()
    goals = cells(env.world.item_position[:, 0])
    assert (home[:, 0] == KIND["goal"]).all()
    assert (home[:, 1:] == KIND["apple"]).sum(1).tolist() == [apples] * B
    assert apples == (height * width - 1) // 10
    if number == 1:  # uniform: chi-square with 49 degrees of freedom, p = 0.001
        counts = np.bincount([i * width + j for i, j in goals], minlength=height * width)
        assert ((counts - B / 50) ** 2 / (B / 50)).sum() < 85.4
    far = {goal: distances(walls, goal) for goal in set(goals)}
    apple_count: Counter[tuple[int, int]] = Counter()
    for b in range(B):
        fruit = cells(env.world.item_position[b, 1:][home[b, 1:] > 0])
        assert len(set(fruit)) == apples
        assert goals[b] not in fruit
        apple_count.update(fruit)
        assert far[goals[b]][cells(env.world.position[[b]])[0]] > 4
    mean = B * apples / (height * width)
    counts = [apple_count[i, j] for i in range(height) for j in range(width)]
    assert mean - 6 * mean**0.5 < min(counts) <= max(counts) < mean + 6 * mean**0.5
    before, places = env.world.position.clone(), env.world.item_position.clone()
    put(env, env.world.item_position[:, 0])
    now = wait(env)
    assert (now.reward >= 10).all()
    assert (env.world.restarts == 1).all()
    assert torch.equal(env.world.item_position, places)  # goal and apples stay for the episode
    assert torch.equal(env.world.home_kind, home)
    assert (env.world.position != before).any(1).float().mean() > 0.8
    for b in range(B):
        assert far[goals[b]][cells(env.world.position[[b]])[0]] > 4


def test_a_new_episode_draws_a_new_goal() -> None:
    env = labyrinth("nav_maze_random_goal_02", 50)
    first = env.world.goal_cell.clone()
    env.reset()
    assert (env.world.goal_cell != first).float().mean() > 0.9
