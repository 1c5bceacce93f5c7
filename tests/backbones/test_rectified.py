"""Convolutions with ReLU: folding changes no product, and known outputs have the gradients of computed ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from morello.backbones import rectified
from morello.backbones.convolutional import DeepCNN, NatureCNN, ShallowCNN
from morello.backbones.rectified import (
    FewPositions,
    KnownConvolution,
    chain,
    convolve,
    convolve_few,
    flattened,
    foldable,
    folded,
    unfolded,
)

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


@pytest.mark.parametrize(
    ("dtype", "channels", "fold"), [("bfloat16", 3, True), ("bfloat16", 16, False), ("float32", 3, False)]
)
def test_few_channels_of_bfloat16_are_folded_with_the_same_results(dtype, channels, fold, monkeypatch):
    dtype = getattr(torch, dtype)
    x, w, b = images(21, 20, channels), images(8, 8, channels, seed=1), torch.randn(N)
    x, w, b = (y.to(dtype).requires_grad_() for y in (x, w, b))
    folds = []
    monkeypatch.setattr(rectified, "folded", lambda x, across: folds.append(across) or folded(x, across))
    y = convolve(x, w, b, (4, 4), (0, 0))
    assert folds == ([4, 4] if fold else [])
    exact = [z.detach().double().requires_grad_() for z in (x, w, b)]
    expected = F.conv2d(*exact, 4)
    direction = images(*y.shape[2:], len(b), seed=2).to(dtype)
    y.backward(direction)
    expected.backward(direction.double())
    rounding = 1e-5 if dtype == torch.float32 else 1e-2
    for mine, its in ((y, expected), *((a.grad, z.grad) for a, z in zip((x, w, b), exact, strict=True))):
        torch.testing.assert_close(mine.double(), its, rtol=rounding, atol=rounding * its.detach().abs().max().item())


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


LAYOUTS = {
    "channels last": lambda g: g.contiguous(memory_format=torch.channels_last),
    "channels first": lambda g: g.contiguous(),
    "flattened below a linear layer": lambda g: g.flatten(1).clone().unflatten(1, g.shape[1:]),
    "strided": lambda g: torch.stack([g, g], -1)[..., 0],
    "transposed": lambda g: g.transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_and_layouts_change_no_bit_of_the_gradients(channels, layout, dtype):
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, 256, (N, 21, 20, channels), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)
    w, b = images(8, 8, channels, seed=1).to(dtype), torch.randn(N, generator=generator).to(dtype)
    value = F.relu(F.conv2d(pixels.to(dtype), w / 255, b, 4))
    gradient = torch.randn(value.shape, generator=generator).to(dtype)

    def gradients(x, given):
        leaves = [w.clone().requires_grad_(), b.clone().requires_grad_()]
        KnownConvolution.apply(x, *leaves, value, (4, 4), (0, 0)).backward(given)
        return [leaf.grad for leaf in leaves]

    expected = gradients(pixels.to(dtype), LAYOUTS["channels last"](gradient))
    found = gradients(pixels, LAYOUTS[layout](gradient))
    assert all(x.abs().sum() > 0 for x in expected)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_images_that_change_before_their_gradient_are_an_error():
    pixels = torch.zeros(N, 9, 9, C, dtype=torch.uint8).permute(0, 3, 1, 2)
    w, b = images(3, 3).requires_grad_(), torch.randn(N)
    y = F.relu(F.conv2d(pixels.float(), w, b)).detach()
    known = KnownConvolution.apply(pixels, w, b, y, (1, 1), (0, 0))
    pixels.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        known.sum().backward()


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


def test_squares_of_pixels_become_channels():
    x = images(12, 20)
    y = folded(x, 4, 2)
    assert y.shape == (N, 8 * C, 6, 5)
    for row in range(12):
        for column in range(20):
            channel = ((row % 2) * 4 + column % 4) * C
            assert y[:, channel : channel + C, row // 2, column // 4].equal(x[:, :, row, column])
    w, b = images(8, 8, seed=1)[:, :C], torch.randn(N)
    x = images(28, 20)
    torch.testing.assert_close(F.conv2d(folded(x, 4, 4), folded(w, 4, 4), b), F.conv2d(x, w, b, 4))


def test_maps_are_flattened_with_gradients_in_their_own_order():
    maps = images(3, 4).requires_grad_()
    weight = torch.randn(N, 3 * 4 * C)
    (flattened(maps) * weight).sum().backward()
    assert torch.equal(flattened(maps), maps.flatten(1))
    assert torch.equal(maps.grad, weight.view(N, C, 3, 4))
    assert maps.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("side", "kernel", "stride"), [(9, 4, (2, 2)), (7, 3, (1, 2)), (4, 4, (2, 2))])
def test_gradients_of_few_positions_are_those_of_differences(side, kernel, stride):
    x = images(side, side).double().requires_grad_()
    w, b = torch.randn(OUT, C, kernel, kernel).double().requires_grad_(), torch.randn(OUT).double().requires_grad_()
    assert torch.equal(FewPositions.apply(x, w, b, stride), F.conv2d(x, w, b, stride))
    assert torch.autograd.gradcheck(lambda *given: FewPositions.apply(*given, stride), (x, w, b))


@pytest.mark.parametrize(("side", "few"), [(9, True), (10, True), (12, False)])
def test_few_positions_in_bfloat16_have_products_of_their_own_and_others_do_not(monkeypatch, side, few):
    layer, x = nn.Conv2d(C, OUT, 4, 2), images(side, side).bfloat16().requires_grad_()
    called, apply = [], FewPositions.apply
    monkeypatch.setattr(FewPositions, "apply", lambda *given: called.append(1) or apply(*given))

    def gradients(function):
        x.grad = None
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = function(x)
        y.float().square().sum().backward()
        return y.detach(), x.grad, layer.weight.grad, layer.bias.grad

    found = gradients(lambda x: convolve_few(x, layer))
    assert bool(called) == few
    for mine, its in zip(found, gradients(layer), strict=True):
        assert mine.dtype == its.dtype
        torch.testing.assert_close(mine, its, rtol=0.05, atol=0.05 * float(its.abs().max()))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        convolve_few(x, layer)
    convolve_few(x.detach().float(), layer)
    assert len(called) == few
