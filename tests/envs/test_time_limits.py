"""Time limits: kept as asked for, or refused by name; and an environment's own limit is what its spec says."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import morello
from morello.envs import FAMILIES
from morello.envs.errors import UserError
from morello.envs.wrappers import TimeLimit

from ..support.opengl import opengl

SIZE = {"frame_size": (5, 7)}


class Endless(gymnasium.Env):
    """Goes on for ever, or until it has counted ``max_steps`` itself."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, max_steps=None):
        self.max_steps = max_steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.clock += 1
        return np.zeros(2, np.float32), 1.0, False, self.clock == self.max_steps, {}


gymnasium.register("Endless-v0", Endless, max_episode_steps=11)
gymnasium.register("Unlimited-v0", Endless)
gymnasium.register("Counts-v0", lambda: Endless(max_steps=7), max_episode_steps=11)
gymnasium.register("Inside-v0", lambda: gymnasium.make("Endless-v0"))


def length(env, action=0):
    """Steps of the first episode of environment 0, played with one action; it must be cut short, not terminate."""
    env.reset()
    for steps in range(1, 2000):
        now = env.step(torch.full((env.num_envs,), action))
        if now.last[0]:
            assert now.discount[0] == 1
            return steps
    raise AssertionError("no end")


KEPT = {"labyrinth:recall_left": SIZE, "vizdoom:Basic": SIZE, "atari:Breakout": SIZE, "gym:Endless-v0": {}}
REFUSED = {
    "minigrid:Empty-5x5": {},
    "minigrid:MultiRoomNoisyTV-N7-S4": {},
    "miniworld:OneRoom": {**SIZE, "env_workers": 0},
    "gym:Counts-v0": {},
    "counting:steps": {},
}


def test_every_family_is_asked():
    assert {name.partition(":")[0] for name in (*KEPT, *REFUSED)} == {*FAMILIES}


@pytest.mark.parametrize("name", KEPT)
def test_a_limit_beyond_the_familys_own_is_kept(name):
    own = morello.make(name, 2, **KEPT[name]).spec.max_steps
    env = morello.make(name, 2, time_limit=own + 3, **KEPT[name])
    assert env.spec.max_steps == own + 3
    assert name.startswith("atari") or length(env) == own + 3


@pytest.mark.parametrize("name", REFUSED)
def test_a_limit_beyond_the_familys_own_is_refused_by_name(name):
    if name.startswith("miniworld"):
        opengl()
    own = morello.make(name, 2, **REFUSED[name]).spec.max_steps
    assert morello.make(name, 2, time_limit=own, **REFUSED[name]).spec.max_steps == own
    called = "terminates" if name == "counting:steps" else name.partition(":")[2]
    with pytest.raises(UserError, match=f"{called}.* after {own} steps itself: .*--time-limit") as refused:
        morello.make(name, 2, time_limit=own + 3, **REFUSED[name])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options", "limit"),
    [
        ("gym:Endless-v0", {}, 3),
        ("gym:Endless-v0", {}, 17),
        ("gym:tests.envs.test_time_limits:Endless-v0", {"env_workers": 2}, 17),
        ("gym:Unlimited-v0", {}, 17),
        ("gym:Counts-v0", {}, 5),
        ("labyrinth:recall_left+recall_right", SIZE, 313),
        ("labyrinth:recall_left", SIZE, 9),
        ("vizdoom:Basic", SIZE, 9),
        ("atari:Breakout", SIZE, 9),
        ("minigrid:Empty-5x5", {}, 9),
    ],
)
def test_an_episode_ends_with_the_limit_asked_for(name, options, limit):
    env = morello.make(name, 2, time_limit=limit, **options)
    assert env.spec.max_steps == length(env) == limit


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("minigrid:Empty-5x5", 100),
        ("minigrid:MultiRoom-N7-S4", 140),
        ("minigrid:DistShift1", 252),
        ("minigrid:MultiRoomNoisyTV-N7-S4", 140),
        ("gym:MiniGrid-Empty-5x5-v0", 100),
        ("gym:Labyrinth/recall_left-v0", 300),
        ("gym:Endless-v0", 11),
        ("gym:Counts-v0", 7),
        ("gym:Inside-v0", 11),
        ("gym:Unlimited-v0", None),
    ],
)
def test_the_spec_says_how_long_an_episode_may_be(name, limit):
    env = morello.make(name, 1)
    assert env.spec.max_steps == limit
    assert limit is None or length(env) == limit


@pytest.mark.parametrize(
    ("name", "own", "workers"),
    [("Inside-v0", 11, 0), ("Counts-v0", 7, 0), ("MiniGrid-Empty-5x5-v0", 100, 0), ("Counts-v0", 7, 1)],
)
def test_a_limit_inside_an_environment_is_named(name, own, workers):
    name = f"tests.envs.test_time_limits:{name}" if workers else name
    with pytest.raises(UserError, match=rf"{name} ends its episodes after {own} steps itself.*--time-limit"):
        morello.make(f"gym:{name}", 2, time_limit=own + 1, env_workers=workers)


def test_the_wrapper_refuses_what_it_cannot_keep():
    with pytest.raises(UserError, match="after 9 steps itself"):
        TimeLimit(morello.make("counting:steps", 1), 10)
