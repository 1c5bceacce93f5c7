"""The same frame, seen a little differently: random shifts and random brightness of uint8 images [N, H, W, C].

A stack of frames is one image of more channels, so that it moves, and brightens, as a whole.
"""

from __future__ import annotations

import torch
from torch import Tensor


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """``y[n, i, j] = x[n, i + down[n], j + right[n]]``, indices clamped to the image: its edges are replicated, and a
    window of the old size is cut out. ``down``, ``right`` [N] int64, in pixels, how far the window moves.
    """
    _, H, W, _ = images.shape
    device = images.device
    rows = (down.unsqueeze(-1) + torch.arange(H, device=device)).clamp(0, H - 1)  # [N, H]
    columns = (right.unsqueeze(-1) + torch.arange(W, device=device)).clamp(0, W - 1)
    item = torch.arange(len(images), device=device).view(-1, 1, 1)
    return images[item, rows.unsqueeze(-1), columns.unsqueeze(-2)]


def scaled(pixels: int, height: int, width: int) -> int:
    """How far frames of this size are shifted where the 84x84 ones of a paper are by ``pixels``; at least 1."""
    return max(1, round(pixels * min(height, width) / 84))


def random_shift(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Each image by its own shift, uniform in [-pad, pad] both ways: a random crop of an image padded by ``pad``."""
    down, right = torch.randint(-pad, pad + 1, (2, len(images)), generator=generator, device=images.device)
    return shift(images, down, right)


def random_intensity(images: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Each image times its own 1 + scale e, e normal, clipped to [-2, 2]; rounded, and white at most."""
    noise = torch.randn(len(images), 1, 1, 1, generator=generator, device=images.device)
    factor = 1 + scale * noise.clamp(-2, 2)
    return (images * factor).round().clamp(0, 255).to(images.dtype)
