"""What callers hand to environments: harmless kinds are taken, all else is refused in one sentence."""

import numpy as np
import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.wrappers import NoisyTV, StickyActions, TimeLimit

from ..support import gymnasium_worlds  # noqa: F401 (registers)

SIZE = {"frame_size": (5, 7)}
MAKE = {
    "labyrinth": lambda: morello.make("labyrinth:recall_left", 3, **SIZE),
    "gym": lambda: morello.make("gym:Parts-v0", 3),
    "workers": lambda: morello.make("gym:tests.support.gymnasium_worlds:Parts-v0", 3, env_workers=1),
    "minigrid": lambda: morello.make("minigrid:DoorKey-5x5", 3),
    "two pools": lambda: morello.make("atari:Breakout", 3, **SIZE),
    "counting": lambda: morello.make("counting:steps", 3),
    "sticky": lambda: StickyActions(morello.make("counting:steps", 3), 0.5),
    "remote": lambda: NoisyTV(morello.make("counting:steps", 3), channel="action"),
    "limit": lambda: TimeLimit(morello.make("counting:steps", 3), 1),
}
ACTION = [1, 0, 2]
TAKEN = (ACTION, tuple(ACTION), np.array(ACTION), np.array(ACTION, np.uint8), torch.tensor(ACTION, dtype=torch.int32))
WRONG = {
    "too few": [1, 0],
    "one": 1,
    "a matrix": [[1, 0, 2]],
    "fractions": [1.0, 0.0, 2.0],
    "NumPy's fractions": np.zeros(3),
    "bools": [True, False, True],
    "words": ["a", "b", "c"],
    "nothing": None,
    "ragged": [[1], [0, 2], 1],
    "too large": 10**30,
    "complex": torch.zeros(3, dtype=torch.complex64),
}


@pytest.fixture(params=MAKE, scope="module")
def made(request):
    return MAKE[request.param]()


def test_whole_numbers_are_taken_however_they_come(made):
    for action in TAKEN:
        begun = made.reset(seed=3)
        expected = made.step(torch.tensor(ACTION))
        made.reset(seed=3)
        now = made.step(action)
        assert torch.equal(now.reward, expected.reward)
        assert now.first.shape == begun.first.shape


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_action_is_refused_before_anything_happens(made, what):
    made.reset(seed=3)
    expected = made.step(torch.tensor(ACTION))
    made.reset(seed=3)
    with pytest.raises(UserError, match=r"actions are integers \[3\], one for each environment") as refused:
        made.step(WRONG[what])
    assert "\n" not in str(refused.value)
    for numbers in ([99, 0, 0], [0, -1, 0]):
        with pytest.raises(UserError, match="actions must lie in"):
            made.step(numbers)
    assert torch.equal(made.step(torch.tensor(ACTION)).reward, expected.reward)


def test_masks_come_as_lists_and_arrays_too(made):
    for mask in ([True, False, True], np.array([True, False, True])):
        made.reset()
        made.step(torch.tensor(ACTION))
        assert made.reset(mask=mask).first.tolist()[::2] == [True, True]


@pytest.mark.parametrize("mask", [[True, False], [1, 0, 1], "all", torch.ones(3), [[True]] * 3])
def test_what_is_no_mask_is_refused(made, mask):
    made.reset()
    with pytest.raises(UserError, match=r"mask is torch.bool \[3\], one for each environment") as refused:
        made.reset(mask=mask)
    assert "\n" not in str(refused.value)


def test_rows_are_a_timestep(made):
    made.reset()
    with pytest.raises(UserError, match="out is a Timestep"):
        made.step(ACTION, out=[1, 2])
    with pytest.raises(UserError, match="out needs reward as"):
        made.step(ACTION, out=made.reset()._replace(reward=torch.zeros(2)))
