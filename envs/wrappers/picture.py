"""Smaller images: greyscale conversion and resizing. Stacked images are processed one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..experience import Timestep
from ..vector_env import VectorEnv
from .base import Wrapper


def luma(image: Tensor) -> Tensor:
    """Return the luma of ITU-R BT.601, ``Y = 0.299 R + 0.587 G + 0.114 B``, of n images: [..., 3 * n] uint8, n times
    red, green and blue -> [..., n].

    The weights are in 65536ths, and the sum is rounded to the nearest, halves up: identical to Pillow's
    ``convert("L")``, bit for bit. OpenCV's are in 16384ths or 32768ths, which differs by 1 for a few colours.
    """
    red, green, blue = image.to(torch.int32).view(*image.shape[:-1], -1, 3).unbind(-1)
    total = (red * 19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000)
    return total.bitwise_right_shift_(16).to(torch.uint8)


def overlap(before: int, after: int, device: torch.device | str = "cpu") -> Tensor:
    """Return [after, before] float64: the overlap of each of ``before`` equal pieces of a line with each of ``after``,
    in units of 1 / (before * after) of the line. Whole numbers; a row sums to ``before``.
    """
    new = torch.arange(after, device=device).unsqueeze(-1)
    old = torch.arange(before, device=device)
    shared = torch.minimum((new + 1) * before, (old + 1) * after) - torch.maximum(new * before, old * after)
    return shared.clamp(min=0).double()


class Grey(Wrapper):
    """Replaces red, green and blue by their `luma`: n images of 3 channels become n of 1."""

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        height, width, channels = self._image_shape()
        if channels % 3:
            raise UserError(f"Grey needs red, green and blue, and the image has {channels} channels; omit it")
        self._resized(height, width, channels // 3)

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        rows["image"].copy_(luma(now.observation["image"]))


class Resize(Wrapper):
    """Resizes the image to ``height`` x ``width``: each new pixel is the mean over the area it covers, with fractional
    weights at the edges (OpenCV's INTER_AREA, when shrinking), rounded to the nearest, halves to even.

    Sums are of whole numbers up to the division, hence the result is the same on every device and in every batch.
    (Computed in float64, which neither autocast nor reduced precision of matrix products affects.)
    """

    def __init__(self, env: VectorEnv, height: int, width: int) -> None:
        super().__init__(env)
        if min(height, width) < 1:
            raise UserError(f"an image has at least 1 row and 1 column, not {height} x {width}")
        old_height, old_width, channels = self._image_shape()
        self._resized(height, width, channels)
        self._down = overlap(old_height, height, self.device)  # [H', H]
        self._across = overlap(old_width, width, self.device).T.contiguous()  # [W, W']
        self._area = old_height * old_width  # of a new pixel, in the product of both units

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        image = now.observation["image"]
        B, _, width, channels = image.shape
        lower = self._down @ image.double().flatten(2)  # [B, H', W * C]
        planes = lower.view(B, -1, width, channels).permute(0, 3, 1, 2)
        mean = (planes @ self._across).div_(self._area).round_()  # [B, C, H', W']
        rows["image"].copy_(mean.permute(0, 2, 3, 1))
