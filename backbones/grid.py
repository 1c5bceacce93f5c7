"""Torso for gridworlds, whose images are small and hold codes instead of intensities."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Torso
from .convolutional import orthogonal
from .numerics import running_dtype
from .rectified import flattened
from .repeats import Remembered, distinct, repeat

CODES = 256
"""Number of values of a byte."""
FEW = 64
"""Number of different codes, over all channels, up to which one-hot codes are cheaper than looking up their vectors."""
MANY = 256
"""Number of images in which it pays to look for equal ones; at one time those of different environments differ."""


class Grid(Torso):
    """Torso with a learned vector for each value of each channel, summed over a cell's channels (the bag of words of
    BabyAI 1.1, Hui et al. 2020), then two 2x2 convolutions of 32 and 64 channels and one linear layer.
    """

    offset: Tensor  # [C], index of each channel's first value

    def __init__(self, shape: tuple[int, ...], size: int = 128, width: int = 16) -> None:
        super().__init__()
        height, length, channels = shape
        if min(height, length) < 3:
            raise ValueError(f"Grid cannot take images of {height}x{length}: they are smaller than its filters.")
        self.embedding = nn.EmbeddingBag(channels * CODES, width, mode="sum")
        self.register_buffer("offset", CODES * torch.arange(channels), persistent=False)
        self.first = orthogonal(nn.Conv2d(width, 32, 2))
        self.second = orthogonal(nn.Conv2d(32, 64, 2))
        self.map_shape = (64, height - 2, length - 2)
        self.linear = orthogonal(nn.Linear(64 * (height - 2) * (length - 2), size))
        self.size = size
        self._known: Remembered | None = None

    def keep(self, on: bool) -> None:
        """Keep the vector of each image from now on, or forget them."""
        self._known = Remembered(lambda x: self._each(x)[1]) if on else None

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Map uint8 [N, H, W, C] to the map [N, 64, H - 2, W - 2] and the vector [N, E]."""
        if x.device.type == "cpu" and self._known is not None and not torch.is_grad_enabled():
            return None, self._known(x)
        images, index = self._distinct(x)
        maps, vector = self._each(images)
        if index is None:
            return maps, vector
        # In the order in which they lie in memory, channels last, maps are copied ten times faster.
        return repeat(maps.permute(0, 2, 3, 1), index).permute(0, 3, 1, 2), repeat(vector, index)

    def unmapped(self, x: Tensor) -> tuple[None, Tensor]:
        """Map uint8 [N, H, W, C] to the vector [N, E], without copies of the maps of equal images."""
        images, index = self._distinct(x)
        vector = self._each(images)[1]
        return None, vector if index is None else repeat(vector, index)

    @staticmethod
    def _distinct(x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the images to compute and the index of those of ``x`` among them; None if they are the same."""
        # For few images it does not pay, and on other devices the host would have to wait for their number.
        return distinct(x) if x.device.type == "cpu" and len(x) >= MANY else (x, None)

    def _each(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the results of every image."""
        sizes: list[int] = []
        if x.device.type == "cpu" and torch.is_grad_enabled():
            sizes = [int(code) + 1 for code in x.flatten(0, 2).amax(0)]
        y = self._convolve_codes(x, sizes) if 0 < sum(sizes) <= FEW else self._convolve_cells(x)
        maps = F.relu(self.second(F.relu(y, inplace=True)), inplace=True)
        return maps, F.relu(self.linear(flattened(maps)), inplace=True)

    def _convolve_cells(self, x: Tensor) -> Tensor:
        """Apply the first convolution to the vectors of the cells."""
        cells = self.embedding(x.flatten(0, 2) + self.offset).unflatten(0, x.shape[:3])
        y: Tensor = self.first(cells.permute(0, 3, 1, 2))
        return y

    def _convolve_codes(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Apply the same convolution to one-hot codes, its filter being the product of the learned vectors and the
        filter. The codes of channel c are below ``sizes[c]``.

        The gradient of a few filters costs less than that of every cell, added up by code.
        """
        begins = torch.tensor([0, *itertools.accumulate(sizes[:-1])])
        hot = torch.zeros(x[..., 0].numel(), sum(sizes), dtype=running_dtype(x.device))
        hot = hot.scatter_(1, x.flatten(0, 2) + begins, 1.0).view(*x.shape[:3], -1)
        used = torch.cat([CODES * c + torch.arange(n) for c, n in enumerate(sizes)])
        with torch.autocast("cpu", enabled=False):
            vectors = self.embedding.weight.index_select(0, used)
            filters = torch.einsum("sw,owij->osij", vectors, self.first.weight)
        return F.conv2d(hot.permute(0, 3, 1, 2), filters, self.first.bias)
