"""Torso for gridworlds, whose images are small and hold codes instead of intensities."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Torso
from .convolutional import orthogonal

CODES = 256
"""Number of values of a byte."""


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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 [N, H, W, C] to the map [N, 64, H - 2, W - 2] and the vector [N, E]."""
        codes = x.flatten(0, 2) + self.offset
        cells = self.embedding(codes).unflatten(0, x.shape[:3])
        maps = F.relu(self.second(F.relu(self.first(cells.permute(0, 3, 1, 2)))))
        return maps, F.relu(self.linear(maps.flatten(1)))
