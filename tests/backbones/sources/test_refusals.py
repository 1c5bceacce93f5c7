"""Sources: what they were not built for is refused in one sentence, and the ends of their ranges are not."""

import math

import pytest
import torch

from morello.backbones.sources import (
    MESH,
    SOURCES,
    ClassMixture,
    LagCopy,
    MarkovMesh,
    Mixture,
    MovingSprite,
    ShiftCopy,
    SymmetricChannel,
    TopicText,
)


@pytest.mark.parametrize("name", SOURCES)
def test_items_of_another_shape_have_no_probability(name):
    source = SOURCES[name]()
    x = source.sample(3, torch.Generator().manual_seed(0))
    assert source.log_prob(x[:0]).shape == (0,)
    for wrong in (x[0], x[:, 1:], x.unsqueeze(-1), torch.cat([x, x], dim=1)):
        with pytest.raises(ValueError, match=r"items is \[count, .*\], not"):
            source.log_prob(wrong)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: LagCopy(lag=0), "1 symbol back or more, not 0"),
        (lambda: LagCopy(lag=-2), "1 symbol back or more, not -2"),
        (lambda: LagCopy(renewal=1.1), "0 to 1, not 1.1"),
        (lambda: LagCopy(renewal=-0.1), "0 to 1, not -0.1"),
        (lambda: ShiftCopy(error=1.5), "0 to 1, not 1.5"),
        (lambda: ShiftCopy(error=math.nan), "0 to 1, not nan"),
        (lambda: SymmetricChannel(error=2.0), "0 to 1, not 2.0"),
        (lambda: ClassMixture(error=-1.0), "0 to 1, not -1.0"),
        (lambda: ClassMixture(classes=0), "1 class or more, not 0"),
        (lambda: TopicText(topics=0), "1 component or more"),
        (lambda: Mixture([], 0), "1 component or more"),
        (lambda: MovingSprite(error=1.0), "error > 0 and < 1, not 1.0"),
        (lambda: MovingSprite(turning=1.01), "0 to 1, not 1.01"),
        (lambda: MovingSprite(turning=-0.1), "0 to 1, not -0.1"),
        (lambda: MovingSprite(side=4, sprite_side=5), "1 to 4 pixels wide in a frame of 4, not 5"),
        (lambda: MovingSprite(side=12, sprite_side=8), "1 to 7 pixels wide in a frame of 12, not 8"),
        (lambda: MovingSprite(sprite_side=0), "not 0"),
        (lambda: MarkovMesh(symbols=3, table=MESH), r"\[C, V, V, V, V\] is \[1, 3, 3, 3, 3\], not \[1, 2, 2, 2, 2\]"),
        (lambda: MarkovMesh(channels=2, table=MESH), r"is \[2, 2, 2, 2, 2\], not \[1, 2, 2, 2, 2\]"),
        (lambda: MarkovMesh(table=MESH[0]), r"not \[2, 2, 2, 2\]"),
    ],
)
def test_laws_that_cannot_be_are_refused(build, said):
    with pytest.raises(ValueError, match=said):
        build()


def test_a_table_brings_its_sizes():
    table = torch.full((2, 3, 3, 3, 3), 1 / 3)
    for source in (MarkovMesh(2, 2, table=table), MarkovMesh(2, 2, 2, 3, table=table)):
        assert (source.shape, source.symbols) == ((2, 2, 2), 3)
    assert (MarkovMesh().shape[-1], MarkovMesh().symbols) == (1, 2)


def test_a_sprite_may_turn_at_every_frame():
    source = MovingSprite(frames=3, side=2, sprites=1, sprite_side=1, error=0.05, turning=1.0)
    every = torch.cartesian_prod(*[torch.arange(2)] * 12).view(-1, 3, 2, 2, 1)
    log_p = source.log_prob(every)
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-10)
    nearly = MovingSprite(frames=3, side=2, sprites=1, sprite_side=1, error=0.05, turning=1 - 1e-12)
    torch.testing.assert_close(log_p, nearly.log_prob(every), rtol=0, atol=1e-9)
    value, error = source.entropy()
    assert abs(value + (log_p.exp() * log_p).sum().item()) < 4 * error


def test_the_ends_of_a_range_are_in_it():
    drawn = torch.Generator().manual_seed(0)
    for source in (LagCopy(renewal=0.0), LagCopy(renewal=1.0), ShiftCopy(error=0.0), ShiftCopy(error=1.0)):
        assert source.log_prob(source.sample(3, drawn)).isfinite().all()
