"""Convolutions followed by ReLU, as the published torsos have them: fewer wasted products, and known outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Pair = tuple[int, ...]


def chain(layers: nn.Sequential) -> list[nn.Conv2d] | None:
    """Return the convolutions of ``layers`` if these are plain convolutions, each followed by a ReLU; None if not."""
    convolutions = [layer for layer in list(layers)[::2] if type(layer) is nn.Conv2d]
    rectifiers = [layer for layer in list(layers)[1::2] if type(layer) is nn.ReLU]
    if not (len(convolutions) == len(rectifiers) == len(layers) / 2):
        return None
    usual = all(
        (c.groups, c.dilation, c.padding_mode) == (1, (1, 1), "zeros")
        and isinstance(c.padding, tuple)
        and c.bias is not None
        for c in convolutions
    )
    return convolutions if usual else None


def foldable(x: Tensor, weight: Tensor, stride: Pair, padding: Pair | str) -> bool:
    """Return whether the columns that a stride skips can become channels: of images and filters alike."""
    across = stride[1]
    return across > 1 and padding == (0, 0) and x.shape[3] % across == 0 and weight.shape[3] % across == 0


def folded(x: Tensor, across: int, down: int = 1) -> Tensor:
    """View [N, C, H, W], channels-last, as [N, down x across x C, H / down, W / across]: neighbours become channels.

    A convolution with these strides is one with a stride of 1 of what is so folded. CPU libraries, which work on
    blocks of 16 channels and skip no pixels well, are faster at it. Columns alone are folded without a copy.
    """
    n, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, height // down, down, width // across, across * channels)
    return rows.transpose(2, 3).flatten(3).permute(0, 3, 1, 2)


def unfolded(x: Tensor, across: int) -> Tensor:
    """Undo ``folded``."""
    n, channels, height, width = x.shape
    columns = x.permute(0, 2, 3, 1).reshape(n, height, width * across, channels // across)
    return columns.permute(0, 3, 1, 2)


def flattened(maps: Tensor) -> Tensor:
    """Flatten maps [N, C, H, W], channels-last, to [N, D] for a linear layer. On a CPU its gradient, which comes in the
    order of D, is brought into that of the maps, for in the former all that follows is slow.
    """
    if maps.requires_grad and maps.device.type == "cpu":
        maps.register_hook(_channels_last)  # type: ignore[no-untyped-call]
    return maps.flatten(1)


def _channels_last(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.contiguous(memory_format=torch.channels_last)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair | str) -> Tensor:
    """Convolve [N, C, H, W]; on a CPU, bfloat16 images of a few channels are folded first, which is a third faster."""
    few = x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.shape[1] < 16
    if few and foldable(x, weight, stride, padding):
        x, weight, stride = folded(x, stride[1]), folded(weight, stride[1]), (stride[0], 1)
    return F.conv2d(x, weight, bias, stride, padding)


class KnownConvolution(torch.autograd.Function):
    """``relu(conv2d(x, weight, bias))`` whose value is known already: only its gradients are computed.

    ``x`` may hold bytes, which are converted when they are needed, so that the result is still in cache.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, value: Tensor, stride: Pair, padding: Pair
    ) -> Tensor:
        """Return ``value``."""
        ctx.save_for_backward(x, weight, value)
        ctx.stride, ctx.padding = stride, padding
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradients of x, weight and bias; they are those of autograd to the last bit."""
        x, weight, value = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        # Below a linear layer rows come in another layout, in which all that follows is slow.
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        gradient = torch.ops.aten.threshold_backward(gradient, value, 0)
        image, filters, bias = ctx.needs_input_grad[:3]
        dx = dw = db = None
        if image:
            # Only the images' gradient: sums over folded filters may come in another order.
            fold = foldable(x, weight, stride, padding)
            a, w = (folded(x, stride[1]), folded(weight, stride[1])) if fold else (x, weight)
            dx = _gradients(gradient, a, w, (stride[0], 1) if fold else stride, padding, (True, False, False))[0]
            dx = unfolded(dx, stride[1]) if fold else dx
        if filters or bias:
            dw, db = _gradients(gradient, x.to(weight.dtype), weight, stride, padding, (False, filters, bias))[1:]
        return dx, dw, db, None, None, None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], stride, padding, (1, 1), False, (0, 0), 1, wanted
    )
    return found


FEW = 16
"""Positions of a filter up to which patches are so few that their product is faster than the library."""


def convolve_few(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Apply ``layer`` to x [N, C, H, W]; where gradients follow on a CPU, bfloat16 images with few positions of the
    filter are differentiated as `FewPositions` does.
    """
    y: Tensor
    if torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == torch.bfloat16 and layer.padding == (0, 0):
        spans = zip(x.shape[2:], layer.kernel_size, layer.stride, strict=True)
        if math.prod((side - kernel) // stride + 1 for side, kernel, stride in spans) <= FEW:
            y = FewPositions.apply(x, layer.weight, layer.bias, layer.stride)  # type: ignore[no-untyped-call]
            return y
    y = layer(x)
    return y


class FewPositions(torch.autograd.Function):
    """``conv2d(x, weight, bias, stride)`` in the precision of ``x``. The weight's gradient is a product with patches,
    which takes a half of a CPU library's time where a filter has few positions.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: Pair) -> Tensor:
        """Return the convolution."""
        own = weight.to(x.dtype)
        ctx.save_for_backward(x, own)
        ctx.stride, ctx.dtype = stride, weight.dtype
        return F.conv2d(x, own, bias.to(x.dtype), stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        (down, across), (count, channels, height, width) = ctx.stride, weight.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = _gradients(gradient, x, weight, ctx.stride, (0, 0), (True, False, False))[0]
        patches = x.permute(0, 2, 3, 1).unfold(1, height, down).unfold(2, width, across)
        patches = patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, height * width * channels)
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, count)
        dw = (rows.t() @ patches).view(count, height, width, channels).permute(0, 3, 1, 2)
        return dx, dw.to(ctx.dtype), rows.sum(0).to(ctx.dtype), None
