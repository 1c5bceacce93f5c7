"""Environments that speak Gym's interface of before 0.26 are told apart from those that break."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import morello
from morello.envs.errors import BrokenEnvironmentError, UserError


class Speaks(gymnasium.Env):
    """Answers in the way ``how`` says."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, how):
        self.how = how

    def reset(self, *, seed=None, options=None):
        seen, info = np.zeros(2, np.float32), None if self.how == "none" else {}
        return {"bare reset": seen, "listed reset": [seen, seen]}.get(self.how, (seen, info))

    def step(self, action):
        if self.how == "own fault":
            _, _, _, _, _ = range(4)
        answer = np.zeros(2, np.float32), 1.0, False, False, {}
        return {"old step": answer[:-2] + answer[-1:], "six": (*answer, 0), "nothing": None}.get(self.how, answer)


class Seedless(Speaks):
    def reset(self):
        return np.zeros(2, np.float32)


def make(how, **options):
    return (Seedless if how == "no seed" else Speaks)(how)


gymnasium.register("Speaks-v0", make)
gymnasium.register("SpeaksLimited-v0", make, max_episode_steps=50)
for how in ("old step", "own fault", "six", "nothing", "bare reset", "listed reset", "no seed", "new", "none"):
    for kind in ("Speaks", "SpeaksLimited"):
        name = f"{kind}-{how.replace(' ', '-')}-v0"
        gymnasium.register(name, make, kwargs={"how": how}, max_episode_steps=50 if "Limited" in kind else None)


def play(name, **options):
    env = morello.make(f"gym:{name}", 2, **options)
    env.reset()
    return env.step(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", ["Speaks", "SpeaksLimited"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("old-step", "its step returns 4 values"),
        ("bare-reset", "its reset returns an observation without info"),
        ("listed-reset", "its reset returns an observation without info"),
        ("no-seed", "its reset takes no seed"),
    ],
)
def test_an_old_interface_is_named_with_the_way_out(how, words, kind, restart):
    with pytest.raises(UserError, match=rf"{kind}-{how}-v0 speaks .* Gym before 0.26 .*{words}.*shimmy") as caught:
        play(f"{kind}-{how}-v0", restart_envs=restart)
    assert "\n" not in str(caught.value)
    assert "--restart-envs" not in str(caught.value)


def test_a_worker_says_so_too():
    with pytest.raises(UserError, match=r"speaks .* Gym before 0.26 .*shimmy"):
        play("tests.envs.adapters.test_old_interface:Speaks-old-step-v0", env_workers=1, restart_envs=True)


@pytest.mark.parametrize(
    ("how", "words"),
    [("own-fault", "not enough values"), ("six", "returns 6 values"), ("nothing", "returns a NoneType")],
)
def test_other_faults_stay_the_environments(how, words):
    with pytest.raises(BrokenEnvironmentError, match=words):
        play(f"Speaks-{how}-v0")


@pytest.mark.parametrize("how", ["new", "none"])
def test_what_gymnasium_asks_for_is_taken(how):
    assert play(f"SpeaksLimited-{how}-v0").reward.tolist() == [1, 1]
