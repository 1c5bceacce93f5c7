"""Copies of what is far back: what they cost those who see so far, and those who do not."""

import math

import pytest

from morello.backbones.sources import LagCopy, MarkovText, MovingSprite, ShiftCopy

from ...support.enumeration import every_item, least
from ...support.source_laws import enumerated, shift


def test_who_sees_less_far_than_the_lag_is_blind():
    source, items, p = enumerated("lag")
    for reach, nats in ((1, source.bounds["blind"]), (2, source.entropy()[0])):
        assert least(p, items, lambda t, n=reach: list(range(max(t - n, 0), t))) == pytest.approx(nats)


def test_who_sees_what_stacked_masked_convolutions_see_is_blind_to_a_shift_of_two():
    """3x3 convolutions, masked, see nothing further right than they are below."""
    source = ShiftCopy(3, 5, 2, 2, 0.1)
    items, W = every_item(source), 5
    p = shift(2, 0.9)(source, items)

    def seen(t):
        return [s for s in range(t) if s % W - t % W <= t // W - s // W]

    assert least(p, items, seen) == pytest.approx(source.bounds["blind"])
    assert least(p, items, lambda t: list(range(t))) == pytest.approx(source.entropy()[0])


def test_copies_have_the_tabulated_nats():
    for symbols, seen, blind in ((256, 0.876, 5.545), (16, 0.565, 2.773)):
        source = LagCopy(symbols, lag=7, renewal=0.1, length=31)
        copies = (source.entropy()[0] - 7 * math.log(symbols)) / 24  # a symbol, after the first seven
        assert copies == pytest.approx(seen, abs=5e-4)
        assert source.bounds["blind"] / 31 == pytest.approx(blind, abs=5e-4)
    source = ShiftCopy(8, 8, 2, error=0.05)
    assert source.entropy() == (pytest.approx(23.587, abs=5e-4), 0)
    assert source.bounds["blind"] == pytest.approx(44.361, abs=5e-4)


def test_a_copy_from_outside_the_image_is_refused():
    with pytest.raises(ValueError, match="offset of -5"):
        ShiftCopy(3, 5, -5)
    with pytest.raises(ValueError, match="7 samples"):
        LagCopy(3, 7, 0.1, 7)
    with pytest.raises(ValueError, match="2 symbols"):
        MarkovText(3, 2, 0.5, 2)
    with pytest.raises(ValueError, match="error > 0"):
        MovingSprite(error=0.0)
