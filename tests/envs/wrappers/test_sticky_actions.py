"""Sticky actions: as often as they should, and never across the beginning of an episode."""

import math

import pytest
import torch

from morello.envs.wrappers import (
    StickyActions,
)

from ...support.film import LENGTHS, Film, run, same_but
from ...support.splitmix import chained
from ...support.timesteps import actions


def test_sticky_actions_are_those_of_the_oracle():
    env = StickyActions(Film(LENGTHS), 0.4, seed=7, env_offset=100)
    env.reset()
    stream, chosen = int.from_bytes(b"StickyAc", "big"), actions(env, 60)
    previous, ended, repeated = [None] * 5, [False] * 5, 0
    for t in range(60):
        now = env.step(chosen[t])
        for b in range(5):
            if ended[b]:
                previous[b] = None  # its action was ignored
            else:
                stick = (chained(7, stream, 100 + b, t) >> 40) / 2**24 < 0.4 and previous[b] is not None
                previous[b] = previous[b] if stick else int(chosen[t, b])
                assert int(env.env.given[-1][b]) == previous[b]
                repeated += stick
        ended = now.last.tolist()
    assert repeated > 40


@pytest.mark.parametrize("p", [0.25, 0.9])
def test_actions_stick_as_often_as_they_should(p):
    B, T = 61, 211
    env = StickyActions(Film([1000] * B, 2, 3, 1), p)
    env.reset()
    chosen = actions(env, T)
    for a in chosen:
        env.step(a)
    given = torch.stack(env.env.given)
    tells = given[:-1] != chosen[1:]  # rows where a repetition shows
    share = float((given[1:] == given[:-1])[tells].double().mean())
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / int(tells.sum()))
    assert ((given == chosen) | torch.cat([torch.zeros(1, B, dtype=torch.bool), given[1:] == given[:-1]])).all()
    # Whether one sticks says nothing of the environment beside it.
    stuck = (given[1:] != chosen[1:]).double()
    stuck -= stuck.mean()
    neighbours = stuck[:, 1:] * stuck[:, :-1]
    assert abs(float(neighbours.mean() / stuck.var())) < 4 / math.sqrt(neighbours.numel())


def test_actions_never_stick_across_the_beginning_of_an_episode():
    """With p = 1 the first action of an episode is executed all through it."""
    env = StickyActions(Film([4, 7, 50]), 1.0)
    now = env.reset()
    mask, chosen, follows, held = torch.tensor([False, False, True]), actions(env, 50), now.first.clone(), [0] * 3
    for t in range(50):
        if t == 31:
            follows = follows | env.reset(mask=mask).first
        crossing = now.last.clone()
        now = env.step(chosen[t])
        for b in range(3):
            if follows[b]:
                held[b] = int(chosen[t, b])
            if not crossing[b]:
                assert int(env.env.given[-1][b]) == held[b], (t, b)
        follows = now.first.clone()


def test_actions_that_never_stick_are_the_agents():
    env = StickyActions(Film(LENGTHS), 0.0)
    same_but(run(env), run(Film(LENGTHS)))
    assert torch.equal(torch.stack(env.env.given), actions(env, 41))
