"""Each level's timers and actions are those of its specification, and levels share a batch."""

import pytest
import torch

import morello
from morello.envs.labyrinth.level import LAB_ACTIONS
from morello.envs.labyrinth.levels import LEVELS

from ....support.levels import NOTHING, labyrinth, wait

PUBLISHED = {
    "seekavoid_arena_01": (20, 60, 300),
    "nav_maze_static_01": (60, 60, 900),
    "nav_maze_static_02": (150, 60, 2250),
    "nav_maze_static_03": (300, 60, 4500),
    "nav_maze_random_goal_01": (60, 60, 900),
    "nav_maze_random_goal_02": (150, 60, 2250),
    "nav_maze_random_goal_03": (300, 60, 4500),
    "explore_goal_locations_small": (90, 60, 1350),
    "my_way_home_dense": (60, 35, 525),
    "my_way_home_sparse": (60, 35, 525),
    "my_way_home_very_sparse": (60, 35, 525),
    "recall_left": (20, 60, 300),
    "recall_right": (20, 60, 300),
}
"""Seconds, ticks a second and steps of episodes, as published; a level of our own is what it says."""


@pytest.mark.parametrize("name", LEVELS)
def test_episodes_last_as_long_as_specified(name: str) -> None:
    level, steps = LEVELS[name], LEVELS[name].max_steps
    own = (level.seconds, level.physics.hz, steps)
    assert own == PUBLISHED.get(name, own)
    env = labyrinth(name, 2)
    assert env.spec.max_steps == steps
    still = NOTHING if env.spec.num_actions == 9 else 0
    for t in range(1, steps + 1):
        now = wait(env, still)
        assert now.last.all() == (t == steps)
    assert now.discount.tolist() == [1, 1]  # a time limit is no termination


def test_published_levels_have_their_actions() -> None:
    own = {"my": ["noop", "forward", "turn_left", "turn_right"], "recall": ["forward", "turn_left", "turn_right"]}
    for name in PUBLISHED:
        assert list(LEVELS[name].actions) == own.get(name.partition("_")[0], list(LAB_ACTIONS))
        assert LEVELS[name].name == name
    assert len(LAB_ACTIONS) == 9


def test_mixed_tasks_share_a_batch() -> None:
    env = labyrinth("seekavoid_arena_01+nav_maze_random_goal_01", 5)
    now = wait(env)
    assert now.task.tolist() == [0, 1, 0, 1, 0]
    alone = labyrinth("nav_maze_random_goal_01", 2)
    assert torch.equal(env.world.goal_cell[1], alone.world.goal_cell[1])  # mixing does not change an episode
    assert torch.equal(env.world.position[1], alone.world.position[1])
    for _ in range(299):
        now = wait(env)
    assert now.last.tolist() == [True, False, True, False, True]
    offset = morello.make("labyrinth:seekavoid_arena_01+nav_maze_random_goal_01", 2, env_offset=3, frame_size=(1, 1))
    assert offset.reset().task.tolist() == [1, 0]
