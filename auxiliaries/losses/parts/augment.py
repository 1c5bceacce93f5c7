"""Image augmentation: random shifts and random brightness of uint8 images [N, H, W, C]. A stack of frames is one image
with more channels, so all its frames are shifted and brightened alike.
"""

from __future__ import annotations

import torch
from torch import Tensor


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift images: ``y[n, i, j] = x[n, i + down[n], j + right[n]]``, indices clamped to the image, so that edges are
    replicated and the size is unchanged. ``down``, ``right`` [N] int64, in pixels, are the displacement of the window.
    """
    _, H, W, _ = images.shape
    device = images.device
    rows = (down.unsqueeze(-1) + torch.arange(H, device=device)).clamp(0, H - 1)  # [N, H]
    columns = (right.unsqueeze(-1) + torch.arange(W, device=device)).clamp(0, W - 1)
    item = torch.arange(len(images), device=device).view(-1, 1, 1)
    return images[item, rows.unsqueeze(-1), columns.unsqueeze(-2)]


def scaled(pixels: int, height: int, width: int) -> int:
    """Convert a paper's shift of 84x84 frames by ``pixels`` in proportion to frames of this size; at least 1."""
    return max(1, round(pixels * min(height, width) / 84))


def random_shift(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Shift each image separately, uniformly in [-pad, pad] in both directions: a random crop of an image padded by
    ``pad``.
    """
    down, right = torch.randint(-pad, pad + 1, (2, len(images)), generator=generator, device=images.device)
    return shift(images, down, right)


def random_intensity(images: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Multiply each image by its own 1 + scale e, with e normal and clipped to [-2, 2]; the result is rounded and
    limited to white.
    """
    noise = torch.randn(len(images), 1, 1, 1, generator=generator, device=images.device)
    factor = 1 + scale * noise.clamp(-2, 2)
    return (images * factor).round().clamp(0, 255).to(images.dtype)
