"""Convolutions that see only earlier pixels, row by row, and only earlier channels within the pixel.

The masks are those of van den Oord et al., "Pixel recurrent neural networks" (ICML 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def causal_mask(height: int, width: int, groups: int, strict: bool) -> Tensor:
    """Return which taps may be read, [groups out, groups in, height, width] bool.

    The middle of the last row is the pixel itself. Taps above it and to its left are kept, those to its right never. At
    the pixel itself group g reads the groups before it (mask A, ``strict``) or those and itself (mask B).
    """
    mask = torch.ones(groups, groups, height, width, dtype=torch.bool)
    middle = width // 2
    mask[:, :, -1, middle + 1 :] = False
    mask[:, :, -1, middle] = torch.ones(groups, groups, dtype=torch.bool).tril(-1 if strict else 0)
    return mask


class MaskedConv2d(nn.Conv2d):
    """k x k causal convolution from [B, C, H, W] to [B, D, H, W].

    C and D are in ``groups`` equal parts, those of the first channel first. The kernel has only the rows down to the
    pixel's own, (k + 1) / 2 of the k, or with ``row`` only the pixel's own row.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int, *, strict: bool, row: bool = False) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"a masked convolution needs an odd kernel, with the pixel in its middle, not {kernel}")
        height = 1 if row else kernel // 2 + 1
        super().__init__(inputs, outputs, (height, kernel))
        mask = causal_mask(height, kernel, groups, strict)
        mask = mask.repeat_interleave(outputs // groups, 0).repeat_interleave(inputs // groups, 1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, D, H, W]."""
        height, width = self.kernel_size
        assert isinstance(width, int)
        x = F.pad(x, (width // 2, width // 2, height - 1, 0))
        return F.conv2d(x, self.weight * self.mask, self.bias)
