"""Views as arrays of symbols, which densities code one after the other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import UInt8
from torch import Tensor

from ....envs.experience import Spec
from ...base import image_shape
from .view import View

LEVELS = 8
"""Grey levels of an image: 3 bits (Bellemare et al. 2016)."""
CODES = 16
"""Symbols of a grid of codes; greater codes start again from 0."""


class Symbols:
    """Images [..., H, W, C] as symbols [N, h, w, c] below ``number``: grids of codes as they are, c symbols a cell, and
    larger images averaged to about ``side`` pixels each way, in 8 levels of grey (c = 1).

    Vectors are not looked at: ValueError, naming ``name``, where there is no image.
    """

    def __init__(self, spec: Spec, side: int, name: str) -> None:
        image_shape(spec, name)
        self.view = View(spec._replace(observation={"image": spec.observation["image"]}), side)
        channels, height, width = self.view.shapes["image"]
        self.grid = self.view.small("image")
        self.shape = (height, width, channels if self.grid else 1)
        self.number = CODES if self.grid else LEVELS

    def __call__(self, observation: Mapping[str, Tensor]) -> UInt8[Tensor, "N h w c"]:
        """Return the symbols of N observations; N are all leading axes, row-major."""
        images = self.view(observation)["image"]
        if self.grid:
            return images.remainder(CODES).to(torch.uint8).permute(0, 2, 3, 1)
        return (images.mean(1) * LEVELS / 256).floor().to(torch.uint8).unsqueeze(-1)
