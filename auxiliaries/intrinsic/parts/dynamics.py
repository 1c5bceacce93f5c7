"""Models of the environment's dynamics in a space of features (Pathak et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....backbones.numerics import one_hot
from .networks import perceptron


class InverseModel(nn.Module):
    """Predicts the action between two features: [..., D] twice -> logits [..., A]."""

    def __init__(self, size: int, actions: int, hidden: int) -> None:
        super().__init__()
        self.layers = perceptron((2 * size, hidden, actions))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Return logits of the action."""
        y: Tensor = self.layers(torch.cat([before, after], -1))
        return y.float()


class ForwardModel(nn.Module):
    """Predicts the next features: [..., D] and an action [...] int64 -> [..., D]."""

    def __init__(self, size: int, actions: int, hidden: int) -> None:
        super().__init__()
        self.actions = actions
        self.layers = perceptron((size + actions, hidden, size))

    def forward(self, before: Tensor, action: Tensor) -> Tensor:
        """Return the predicted features."""
        y: Tensor = self.layers(torch.cat([before, one_hot(action, self.actions).to(before.dtype)], -1))
        return y.float()
