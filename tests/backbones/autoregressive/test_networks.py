"""Causal networks: what they see, and what they do not."""

import itertools
from functools import partial

import pytest
import torch
from torch import nn

from morello.backbones.autoregressive import (
    NETWORKS,
    raster,
    time,
)
from morello.backbones.autoregressive.conditioning import Rows
from morello.backbones.autoregressive.networks import PixelCNN, Sequence
from morello.backbones.dilated import Dilated
from morello.backbones.transformer import Transformer

from ...support.networks import GRIDS, SEQUENCES


def influence(network, ordering, width):
    """[T, T] bool: does row t change with the embedding of event s? By perturbation, and by gradient."""
    torch.manual_seed(2)
    T = ordering.length
    e = torch.randn(T, 1, width, dtype=torch.float64)
    with torch.no_grad():
        base = network(e, Rows())[:, 0]
        moved = torch.zeros(T, T, dtype=torch.bool)
        for s in range(T):
            other = e.clone()
            other[s] += torch.randn(1, width, dtype=torch.float64)
            moved[:, s] = (network(other, Rows())[:, 0] != base).any(-1)
    weights = torch.randn(network.size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, Rows())[:, 0] @ weights, e)
    return moved, (jacobian.squeeze(2) != 0).any(-1)


def random_network(name, ordering, width=3, **options):
    torch.manual_seed(0)
    network = NETWORKS[name](ordering, width, **options).double()
    for parameter in network.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("shape", [(5, 7, 1), (3, 4, 3)])
@pytest.mark.parametrize("name", [*SEQUENCES, *GRIDS])
def test_nothing_told_later_is_seen_and_everything_told_earlier_is(name, shape):
    """But for the blind spot of the plain PixelCNN, which has a test of its own."""
    ordering = raster(*shape)
    options = {"first": 3, "layers": 5} if name in GRIDS else {}
    moved, slope = influence(random_network(name, ordering, size=8, **options), ordering, 3)
    past = torch.ones(ordering.length, ordering.length, dtype=torch.bool).tril(-1)
    for seen in (moved, slope):
        assert not seen[~past].any()
        if name not in ("pixel-cnn", "conv"):
            assert seen[past].all()


def reachable(kernels, height, width):
    """[H W, H W] bool: which pixels masked k x k filters, the first strict, carry to which: tap by tap."""
    seen = None
    for n, k in enumerate(kernels):
        r = k // 2
        taps = [(i, j) for i in range(-r, 1) for j in range(-r, r + 1) if i < 0 or j < 0 or (j == 0 and n > 0)]
        step = torch.zeros(height * width, height * width)
        for y, x, (i, j) in itertools.product(range(height), range(width), taps):
            if y + i >= 0 and 0 <= x + j < width:
                step[y * width + x, (y + i) * width + x + j] = 1
        seen = step if seen is None else ((step @ seen) > 0).float()
    return seen > 0


@pytest.mark.parametrize(("first", "layers", "count"), [(3, 8, 72), (7, 6, 79)])
def test_the_blind_spot_of_the_plain_pixel_cnn(first, layers, count):
    """At (7, 5) of 11 x 11, 82 pixels come before; the wedge to the upper right is out of reach."""
    ordering = raster(11, 11, 1)
    network = random_network("pixel-cnn", ordering, size=3, first=first, layers=layers)
    T, target = 121, 7 * 11 + 5
    e = torch.randn(T, 1, 3, dtype=torch.float64, requires_grad=True)
    network.draw = lambda x, cond: linear(network, x)  # or what a ReLU shuts would look unseen
    (slope,) = torch.autograd.grad(network(e, Rows())[target].sum(), e)
    seen = (slope != 0).any(-1).squeeze(-1)
    assert torch.equal(seen, reachable([first, *[3] * layers], 11, 11)[target])
    assert (seen.sum(), target) == (count, 82)


def linear(network: PixelCNN, x):
    x = network.first(x)
    for layer in network.layers:
        x = x + layer(x)
    return x


@pytest.mark.parametrize(
    ("model", "reach"),
    [
        (partial(Dilated, kernel=3, dilations=(1, 2)), 7),
        (partial(Transformer, layers=2, window=4), 7),
    ],
)
def test_networks_of_limited_reach_see_as_far_as_they_say(model, reach):
    ordering = time(13)
    torch.manual_seed(0)
    network = Sequence(ordering, 3, model=model, size=8).double()
    assert network.model.reach == reach
    moved, slope = influence(network, ordering, 3)
    t = torch.arange(13)
    expected = (t.unsqueeze(1) > t) & (t.unsqueeze(1) - t <= reach)  # row t takes event t - 1 in
    assert torch.equal(moved, expected)
    assert torch.equal(slope, expected)


def test_parameters_are_not_rewritten_by_masks():
    """So that functional copies, averages and weight norms work."""
    network = random_network("pixel-cnn", raster(3, 4, 1), size=4)
    weight = network.first.weight.detach().clone()
    network(torch.randn(12, 2, 3, dtype=torch.float64), Rows())
    assert torch.equal(network.first.weight, weight)
    assert isinstance(network.first, nn.Conv2d)
