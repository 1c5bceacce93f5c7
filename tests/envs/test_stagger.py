"""Staggered episodes end at different steps, each an equal part of the time limit apart."""

import pytest
import torch

import morello
from morello.agents.config.build import build
from morello.agents.config.overrides import preset_named, with_overrides
from morello.agents.config.resolve import resolve
from morello.envs.wrappers import TimeLimit

B, LIMIT = 5, 17


def lengths(env, episodes=2):
    """Steps of the first ``episodes`` episodes of each environment."""
    found = [[] for _ in range(B)]
    since = torch.zeros(B, dtype=torch.int64)
    while min(map(len, found)) < episodes:
        answer = env.step(torch.zeros(B, dtype=torch.int64))
        since = torch.where(answer.first, 0, since + 1)
        for i in answer.last.nonzero().flatten().tolist():
            found[i].append(int(since[i]))
            assert answer.discount[i] == 1  # a time limit, not a termination
    return [x[:episodes] for x in found]


@pytest.mark.parametrize("kind", ["labyrinth", "mixed", "inside a wrapper", "limited by a wrapper"])
def test_first_episodes_are_shorter_by_equal_parts_of_the_limit(kind):
    name = "labyrinth:nav_maze_static_01" + ("+nav_maze_static_02" if kind == "mixed" else "")
    options = {"sticky_actions": 0.3} if kind == "inside a wrapper" else {}
    limit = None if kind == "limited by a wrapper" else LIMIT
    env = morello.make(name, num_envs=B, seed=3, frame_size=(11, 13), time_limit=limit, **options)
    env = TimeLimit(env, LIMIT) if limit is None else env
    env.reset()
    env.stagger()
    assert lengths(env) == [[LIMIT - i * LIMIT // B, LIMIT] for i in range(B)]


def test_without_it_all_end_together():
    env = morello.make("labyrinth:nav_maze_static_01", num_envs=B, seed=3, frame_size=(11, 13), time_limit=LIMIT)
    env.reset()
    assert lengths(env) == [[LIMIT, LIMIT]] * B


@pytest.mark.parametrize("stagger", [False, True])
def test_a_run_staggers_its_environments_only_if_asked(stagger):
    settings = {"env": "labyrinth:nav_maze_static_01", "frame_size": (36, 36), "num_envs": B, "time_limit": LIMIT}
    parts = build(resolve(with_overrides(preset_named("a2c").config, settings | {"stagger": stagger, "unroll": LIMIT})))
    rollout = parts.actor.collect()
    ends = rollout.last[1:].int().argmax(0).tolist()
    assert ends == [LIMIT - 1 - (i * LIMIT // B if stagger else 0) for i in range(B)]
