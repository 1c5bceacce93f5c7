"""Orderings: each place once, in the order they say."""

import pytest
import torch

from morello.backbones.autoregressive import (
    Ordering,
    frames,
    permuted,
    raster,
    time,
)


@pytest.mark.parametrize(
    ("ordering", "shape"),
    [
        (time(7), (7,)),
        (time(5, (2,)), (5, 2)),
        (raster(2, 3, 5), (2, 3, 5)),
        (raster(2, 3, 5, whole_pixels=True), (2, 3, 5)),
        (frames(2, permuted(raster(2, 3, 1), torch.tensor([5, 0, 3, 1, 4, 2]))), (2, 2, 3, 1)),
    ],
)
def test_orderings_are_bijections(ordering, shape):
    x = torch.randn(11, *shape)
    sequence = ordering.to_sequence(x)
    assert sequence.shape == (ordering.length, 11, *ordering.event)
    assert torch.equal(ordering.from_sequence(sequence), x)
    if ordering.coordinates.shape[1]:  # each event is what stands at its coordinates
        for t, at in enumerate(ordering.coordinates.tolist()):
            assert torch.equal(sequence[t], x[(slice(None), *at)])


def test_frames_and_permutations_are_in_the_order_they_say():
    ordering = frames(2, permuted(raster(1, 3, 1), torch.tensor([2, 0, 1])))
    assert ordering.to_sequence(torch.arange(6).view(1, 2, 1, 3, 1)).flatten().tolist() == [2, 0, 1, 5, 3, 4]
    assert raster(2, 2, 2).to_sequence(torch.arange(8).view(1, 2, 2, 2)).flatten().tolist() == list(range(8))
    with pytest.raises(ValueError, match="each of them once"):
        Ordering((3,), order=torch.tensor([0, 0, 2]))
