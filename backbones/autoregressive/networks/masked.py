"""Convolutions that see only pixels told before, row by row, and only channels told before within the pixel.

The masks of van den Oord et al., "Pixel recurrent neural networks" (ICML 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def causal_mask(height: int, width: int, groups: int, strict: bool) -> Tensor:
    """[groups out, groups in, height, width] bool: which taps may be read. The last row's middle is the pixel itself.

    Taps above it and to its left are kept, those to its right never. At the pixel itself group g reads the groups
    before it (mask A, ``strict``) or those and itself (mask B).
    """
    mask = torch.ones(groups, groups, height, width, dtype=torch.bool)
    middle = width // 2
    mask[:, :, -1, middle + 1 :] = False
    mask[:, :, -1, middle] = torch.ones(groups, groups, dtype=torch.bool).tril(-1 if strict else 0)
    return mask


class MaskedConv2d(nn.Conv2d):
    """A k x k causal convolution [B, C, H, W] -> [B, D, H, W], C and D in ``groups`` equal parts, those of the first
    channel first. Only the rows down to the pixel's own are computed with, (k + 1) / 2 of the k; or its own ``row``
    alone.
    """

    mask: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, groups: int, *, strict: bool, row: bool = False
    ) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"a masked convolution needs an odd kernel, with the pixel in its middle, not {kernel}")
        height = 1 if row else kernel // 2 + 1
        super().__init__(inputs, outputs, (height, kernel))
        mask = causal_mask(height, kernel, groups, strict)
        mask = mask.repeat_interleave(outputs // groups, 0).repeat_interleave(inputs // groups, 1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D, H, W]."""
        height, width = self.kernel_size
        assert isinstance(width, int)
        x = F.pad(x, (width // 2, width // 2, height - 1, 0))
        return F.conv2d(x, self.weight * self.mask, self.bias)
