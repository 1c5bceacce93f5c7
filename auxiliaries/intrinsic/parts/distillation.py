"""Random network distillation: the error of a network that learns a fixed, random one (Burda et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .networks import Embedding, once, orthogonal, perceptron
from .view import View, Views


class Distillation(nn.Module):
    """A fixed random ``target`` [N, size] of views, and a ``predictor`` with two more layers."""

    def __init__(self, view: View, size: int, activation: Callable[[], nn.Module] = nn.LeakyReLU) -> None:
        super().__init__()
        self.target = orthogonal(Embedding(view, (size,), activation)).requires_grad_(False)
        self.trunk = orthogonal(Embedding(view, (size,), activation))
        self.head = orthogonal(nn.Sequential(nn.ReLU(), perceptron((size, size, size))))

    def predict(self, views: Views) -> Tensor:
        """Predict the target [N, size]."""
        return once(lambda some: self.head(self.trunk(some)).float(), views)

    def error(self, views: Views, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean squared error over features [N], and the target [N, size], computed if not given."""
        if target is None:
            with torch.no_grad():
                target = self.target(views)
        return (self.predict(views) - target).square().mean(-1), target
