"""Shaped rewards, by hand."""

import math

import pytest
import torch

from morello.envs.wrappers import (
    Rewards,
)
from morello.envs.wrappers.rewards import shaped

from ...support.film import LENGTHS, RESETS, Film, run, same_but

REWARDS = {
    "raw": lambda r: r,
    "clip": lambda r: max(-1.0, min(1.0, r)),
    "sign": lambda r: float((r > 0) - (r < 0)),
    "asymmetric": lambda r: 5 * math.tanh(r / 5) * (1.0 if r > 0 else 0.3),
    "asymmetric-paper": lambda r: 5 * math.tanh(r) if r > 0 else 0.3 * math.tanh(r),
}


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("how", REWARDS)
def test_rewards_are_shaped(how, written):
    answers, plain = run(Rewards(Film(LENGTHS), how), written=written, resets=RESETS), run(Film(LENGTHS), resets=RESETS)
    same_but(answers, plain, "reward")
    before = torch.stack([y.reward for y in plain])
    assert float(before.min()) < -1 < 1 < float(before.max())  # the clips bind
    expected = [[REWARDS[how](r) for r in row] for row in before.tolist()]
    torch.testing.assert_close(torch.stack([x.reward for x in answers]), torch.tensor(expected), rtol=1e-6, atol=1e-7)


def test_the_asymmetric_squashes_by_hand():
    reward = torch.tensor([[-100.0, -1.0, 0.0], [0.5, 1.0, 100.0]])
    paper = torch.tensor([[-0.3, -0.228478, 0.0], [2.310586, 3.807971, 5.0]])
    torch.testing.assert_close(shaped(reward, "asymmetric-paper"), paper)
    released = torch.tensor([[-1.5, -0.296063, 0.0], [0.498340, 0.986877, 5.0]])
    torch.testing.assert_close(shaped(reward, "asymmetric"), released)
