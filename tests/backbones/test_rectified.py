"""Convolutions with ReLU: folding changes no product, and known outputs have the gradients of computed ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from morello.backbones.convolutional import DeepCNN, NatureCNN, ShallowCNN
from morello.backbones.rectified import KnownConvolution, chain, foldable, folded, unfolded

N, C, OUT = 5, 3, 7


def images(height, width, channels=C, seed=0):
    """Channels-last, as simulators make them."""
    return torch.randn(N, height, width, channels, generator=torch.Generator().manual_seed(seed)).permute(0, 3, 1, 2)


def test_neighbouring_columns_become_channels_without_a_copy():
    x = images(11, 20)
    y = folded(x, 4)
    assert y.shape == (N, 4 * C, 11, 5)
    assert y.data_ptr() == x.data_ptr()
    for column in range(20):
        for channel in range(C):
            assert y[:, (column % 4) * C + channel, :, column // 4].equal(x[:, channel, :, column])
    assert unfolded(y, 4).equal(x)


def test_a_folded_convolution_is_the_convolution():
    x, w, b = images(21, 20), images(8, 8, seed=1)[:, :C], torch.randn(N)
    assert foldable(x, w, (4, 4), (0, 0))
    torch.testing.assert_close(F.conv2d(folded(x, 4), folded(w, 4), b, (4, 1)), F.conv2d(x, w, b, 4))


@pytest.mark.parametrize(
    ("width", "kernel", "stride", "padding"), [(21, 8, 4, 0), (20, 6, 4, 0), (20, 8, 1, 0), (20, 8, 4, 1)]
)
def test_what_does_not_divide_is_not_folded(width, kernel, stride, padding):
    assert not foldable(images(21, width), images(kernel, kernel), (stride, stride), (padding, padding))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("width", "kernel", "stride", "padding"), [(20, 4, 2, 0), (19, 4, 2, 0), (20, 3, 1, 0), (20, 4, 2, 1)]
)
def test_a_known_output_has_the_gradients_of_a_computed_one(width, kernel, stride, padding, dtype):
    def leaves():
        w = images(kernel, kernel, seed=1)[:, :C]
        parts = (images(21, width), w, torch.randn(N, generator=torch.Generator().manual_seed(2)))
        return [x.to(dtype).requires_grad_() for x in parts]

    x, w, b = leaves()
    computed = F.relu(F.conv2d(x, w, b, stride, padding))
    direction = torch.randn(computed.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    computed.backward(direction)
    again = leaves()
    known = KnownConvolution.apply(*again, computed.detach(), (stride, stride), (padding, padding))
    assert known.equal(computed)
    known.backward(direction)
    rounding = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for mine, its in zip(again, (x, w, b), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, **rounding)


def test_only_the_gradients_that_are_asked_for_are_made():
    x, w, b = images(9, 9), images(3, 3)[:, :C].clone().requires_grad_(), torch.randn(N)
    y = F.relu(F.conv2d(x, w, b)).detach()
    known = KnownConvolution.apply(x, w, b, y, (1, 1), (0, 0))
    known.sum().backward()
    assert w.grad is not None
    assert x.grad is None
    assert b.grad is None


def test_chains_of_plain_convolutions_are_told_from_other_networks():
    assert len(chain(NatureCNN((36, 36, 3)).convolutions)) == 3
    assert len(chain(ShallowCNN((36, 36, 3)).convolutions)) == 2
    assert chain(DeepCNN((36, 36, 3)).convolutions) is None
    for odd in ({"groups": 3}, {"dilation": 2}, {"padding": "same"}, {"padding_mode": "circular"}, {"bias": False}):
        assert chain(nn.Sequential(nn.Conv2d(3, 6, 3, **odd), nn.ReLU())) is None
    assert chain(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ELU())) is None
    assert chain(nn.Sequential(nn.Conv2d(3, 6, 3))) is None
