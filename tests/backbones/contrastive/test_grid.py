"""Images as grids of patches: what a context reads, and what can be predicted from it."""

import math

import pytest
import torch
from torch.nn import functional as F

from morello.backbones.contrastive import CPC, GridContext, GridCPC

from ...support.contrastive import E, bounds, exact_bound, learn
from ...support.estimates import generator

HEIGHT, WIDTH = 5, 7


def within_reach(i, j, layers):
    """Patches that convolutions of 3 x 3 lead to, each to the left, or to the three above, or nowhere."""
    found = {(i, j)}
    for _ in range(layers):
        steps = {(y + dy, x + dx) for y, x in found for dy, dx in ((0, 0), (0, -1), (-1, -1), (-1, 0), (-1, 1))}
        found = {(y, x) for y, x in steps if 0 <= y < HEIGHT and 0 <= x < WIDTH}
    return found


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_context_of_a_patch_reads_what_is_left_and_above_and_nothing_else(layers):
    context = GridContext(E, 31, layers=layers)
    z = torch.randn(2, HEIGHT, WIDTH, E, requires_grad=True)
    c = context(z)
    assert c.shape == (2, HEIGHT, WIDTH, 31)
    for i, j in ((0, 0), (0, 5), (2, 3), (3, 0), (4, 6)):
        (read,) = torch.autograd.grad(c[0, i, j].sum(), z, retain_graph=True)
        at = {tuple(place) for place in read.abs().sum(-1).nonzero().tolist()}
        assert at == {(0, y, x) for y, x in within_reach(i, j, layers + 1)}
        assert all((y, x) <= (i, j) for _, y, x in at)


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_of_patches_are_predicted_from_those_above_if_they_determine_them(shuffled):
    symbols, height, width, images = 6, 5, 3, 31
    follows = torch.randperm(symbols)
    model = GridCPC(GridContext(symbols, 16, layers=1), CPC(16, symbols, (1, 2), queries=128, negatives=127))
    source = generator(0)

    def loss():
        rows = [torch.randint(symbols, (images, width))]
        for _ in range(height - 1):
            rows.append(follows[rows[-1]])
        if shuffled:
            rows = [row.flatten()[torch.randperm(row.numel())].view_as(row) for row in rows]
        return model(F.one_hot(torch.stack(rows, dim=1), symbols).float(), generator=source)

    learn(model, loss, 200, 0.01)
    mean, error = bounds(loss)
    if shuffled:
        assert (mean.abs() < 0.06).all()
        assert (mean < 3 * error).all()
    else:
        assert (mean > 0.95 * exact_bound(symbols, 0.0, 128)).all()
        assert (mean < math.log(symbols) + 3 * error).all()
