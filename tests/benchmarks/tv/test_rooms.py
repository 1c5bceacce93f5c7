"""The scripted behaviour: each walk is made twice, and the picture of the television is all that differs."""

import itertools
from contextlib import closing

import pytest
import torch

from morello.benchmarks.tv.rooms import HALF, SIDE, STILL, UNROLL, Rooms

SCREEN = round(SIDE / 4)
COUNT, SEED = 16, 27  # with this seed some stand still, and some walk, where an episode ends


def walks(television, seed=SEED, count=COUNT):
    with closing(Rooms(television, seed)) as env:
        return [env.collect() for _ in range(count)], env.switch, env.noop


@pytest.fixture(scope="module")
def fresh():
    return walks("fresh")[0]


@pytest.fixture(scope="module")
def remote():
    return walks("remote")


def changed(image):
    """Whether each row of [T + 1, B, H, W, 3] differs from the one before it."""
    return (image[1:] != image[:-1]).flatten(2).any(-1)


def test_the_picture_is_all_that_differs_within_a_pair_and_between_televisions(fresh, remote):
    seen, switch, noop = remote
    assert switch != noop
    for walk, other in zip(fresh, seen, strict=True):
        for x in (walk, other):
            (one, two), (before, after) = x.image[:, :, :, :-SCREEN].chunk(2, 1), x.first.chunk(2, 1)
            assert torch.equal(one, two)
            assert torch.equal(before, after)
            one, two = x.cell.chunk(2, 1)
            assert torch.equal(one, two)
            one, two = x.action.chunk(2, 1)
            assert torch.equal(torch.where(one == switch, noop, one), two)
        assert torch.equal(walk.image[:, :, :, :-SCREEN], other.image[:, :, :, :-SCREEN])
        assert torch.equal(walk.action[:, HALF:], other.action[:, HALF:])


def test_fresh_noise_is_new_in_every_row_and_only_in_the_first_half(fresh):
    still_there = False
    for walk in fresh:
        new = changed(walk.image[:, :, :, -SCREEN:])
        assert new[:, :HALF].all()
        still_there |= not new[:, HALF:].all()
        valid, first_half = ~walk.first[1:], torch.arange(2 * HALF) < HALF
        assert torch.equal(walk.watching, valid & first_half)
        assert torch.equal(walk.elsewhere, valid & ~first_half)
    assert still_there


def test_the_remote_is_used_by_those_who_watch_and_by_nobody_else(remote):
    seen, switch, noop = remote
    for walk in seen:
        valid, first_half = ~walk.first[1:], torch.arange(2 * HALF) < HALF
        assert torch.equal(walk.watching, valid & (walk.action == switch))
        assert torch.equal(changed(walk.image[:, :, :, -SCREEN:]) & valid, walk.watching)
        assert not walk.watching[:, HALF:].any()
        assert torch.equal(walk.resting, valid & (walk.action == noop))
        assert torch.equal(walk.elsewhere, valid & ~first_half & (walk.action != noop))
    assert any((walk.action[walk.first[1:]] == switch).any() for walk in seen)


def test_they_stand_still_at_times_and_come_around(fresh):
    still = torch.cat([walk.action == 0 for walk in fresh]).float()
    assert still.mean() == pytest.approx(STILL, abs=0.03)
    cells = torch.cat([walk.cell[1:] for walk in fresh])
    visited = [len(cells[:, b].unique()) for b in range(2 * HALF)]
    assert sum(visited) / len(visited) > 8


def test_rollouts_follow_each_other(fresh):
    assert len(fresh[0].image) == UNROLL + 1
    for before, after in itertools.pairwise(fresh):
        assert torch.equal(before.image[-1], after.image[0])
        assert torch.equal(before.first[-1], after.first[0])


def test_the_seed_decides():
    (one,), (again,), (other,) = (walks("fresh", seed, 1)[0] for seed in (5, 5, 6))
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image[:, :, :, :-SCREEN], other.image[:, :, :, :-SCREEN])
    assert not torch.equal(one.action, other.action)
