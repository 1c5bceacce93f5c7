"""Encoders from items of integer levels to features [B, F]."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_levels
from ..numerics import scaled
from .layers import dtype_of, perceptron


class FlatEncoder(nn.Module):
    """Perceptron over items [B, *shape] of any shape."""

    def __init__(self, shape: Sequence[int], size: int = 64, levels: int = 256, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        check_levels(levels)
        self.size, self.levels = size, levels
        self.layers = perceptron(math.prod(shape), hidden, size)

    def forward(self, x: Tensor) -> Tensor:
        """Map items [B, *shape] to features [B, size]."""
        return F.relu(self.layers(scaled(x.flatten(1), self.levels, dtype_of(self))))


class ConvolutionalEncoder(nn.Module):
    """Two 3 x 3 convolutions of stride 2, then a linear layer, over images [B, H, W, C] of any height and width."""

    def __init__(self, shape: tuple[int, int, int], size: int = 64, levels: int = 256, channels: int = 32) -> None:
        super().__init__()
        check_levels(levels)
        height, width, colours = shape
        self.size, self.levels = size, levels
        self.first = nn.Conv2d(colours, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.linear = nn.Linear(channels * math.ceil(height / 4) * math.ceil(width / 4), size)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, H, W, C] to features [B, size]."""
        y = scaled(x.permute(0, 3, 1, 2), self.levels, dtype_of(self))
        y = F.relu(self.second(F.relu(self.first(y))))
        return F.relu(self.linear(y.flatten(1)))
