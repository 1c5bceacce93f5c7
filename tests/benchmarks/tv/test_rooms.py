"""The scripted behaviour: the same with every television, whose picture is all that differs."""

import itertools
from contextlib import closing

import pytest
import torch

from morello.benchmarks.tv.rooms import HALF, SIDE, STILL, TELEVISIONS, UNROLL, Rooms

SCREEN = round(SIDE / 4)
COUNT, SEED = 16, 27  # with this seed some of both halves stand still, and some walk, where an episode ends


def walks(television, seed=SEED, count=COUNT):
    with closing(Rooms(television, seed)) as env:
        return [env.collect() for _ in range(count)], env.switch, env.noop


@pytest.fixture(scope="module")
def plain():
    """The same walks where nobody has a television."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TELEVISIONS, "none", ("nine_rooms", "nine_rooms"))
        return walks("none")[0]


def changed(image):
    """Whether each row of [T + 1, B, H, W, 3] differs from the one before it."""
    return (image[1:] != image[:-1]).flatten(2).any(-1)


@pytest.mark.parametrize("television", ["fresh", "remote"])
def test_the_picture_is_all_that_a_television_changes(television, plain):
    seen, _, noop = walks(television)
    for walk, other in zip(seen, plain, strict=True):
        for same in ("first", "cell", "watching", "resting", "elsewhere"):
            assert torch.equal(getattr(walk, same), getattr(other, same))
        assert torch.equal(walk.image[:, :, :, :-SCREEN], other.image[:, :, :, :-SCREEN])
        assert torch.equal(walk.action[:, HALF:], other.action[:, HALF:])
        assert torch.equal(torch.where(walk.action == 4, noop, walk.action), other.action)


def test_fresh_noise_is_new_in_every_row_and_only_before_the_first_half(plain):
    for walk, other in zip(walks("fresh")[0], plain, strict=True):
        assert changed(walk.image[:, :HALF, :, -SCREEN:]).all()
        assert torch.equal(walk.image[:, HALF:], other.image[:, HALF:])


def test_the_remote_is_used_by_those_who_watch_and_by_nobody_else():
    seen, switch, noop = walks("remote")
    assert switch != noop
    for walk in seen:
        valid = ~walk.first[1:]
        assert torch.equal(walk.watching, (walk.action == switch) & valid)
        assert torch.equal(changed(walk.image[:, :, :, -SCREEN:]) & valid, walk.watching)


def test_each_half_stands_still_as_often_and_comes_around(plain):
    still = torch.cat([walk.action == 0 for walk in plain]).float()
    assert still[:, :HALF].mean() == pytest.approx(STILL, abs=0.03)
    assert still[:, HALF:].mean() == pytest.approx(STILL, abs=0.03)
    for walk in plain:
        valid, still = ~walk.first[1:], walk.action == 0
        assert torch.equal(walk.watching[:, :HALF], (still & valid)[:, :HALF])
        assert torch.equal(walk.resting[:, HALF:], (still & valid)[:, HALF:])
        assert torch.equal(walk.elsewhere[:, HALF:], (~still & valid)[:, HALF:])
        assert not walk.watching[:, HALF:].any()
        assert not walk.resting[:, :HALF].any()
        assert not walk.elsewhere[:, :HALF].any()
    cells = torch.cat([walk.cell[1:] for walk in plain])
    visited = [len(cells[:, b].unique()) for b in range(2 * HALF)]
    assert sum(visited) / len(visited) > 8


def test_rollouts_follow_each_other(plain):
    assert len(plain[0].image) == UNROLL + 1
    for before, after in itertools.pairwise(plain):
        assert torch.equal(before.image[-1], after.image[0])
        assert torch.equal(before.first[-1], after.first[0])


def test_the_seed_decides():
    (one,), (again,), (other,) = (walks("fresh", seed, 1)[0] for seed in (5, 5, 6))
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image[:, :, :, :-SCREEN], other.image[:, :, :, :-SCREEN])
    assert not torch.equal(one.action, other.action)
