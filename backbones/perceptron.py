"""Torso for vector observations."""

from __future__ import annotations

import math

from torch import Tensor, nn

from .base import Torso
from .convolutional import orthogonal


class Perceptron(Torso):
    """Two tanh layers (the vector network of the A2C and PPO baselines): float32 [N, V] -> [N, E]."""

    def __init__(self, shape: tuple[int, ...], size: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            orthogonal(nn.Linear(math.prod(shape), size)), nn.Tanh(), orthogonal(nn.Linear(size, size)), nn.Tanh()
        )
        self.size = size

    def forward(self, x: Tensor) -> tuple[None, Tensor]:
        """Map [N, V] to (None, [N, E])."""
        return None, self.layers(x.flatten(1))
