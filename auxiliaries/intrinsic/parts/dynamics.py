"""Models of the environment's dynamics in a space of features (Pathak et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class Parallel(nn.Module):
    """A linear layer for each of M models: [M, N, inputs] -> [M, N, outputs], in one product."""

    def __init__(self, models: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as of torch's linear layers
        self.weight = nn.Parameter(torch.empty(models, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(models, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each model's layer to its rows."""
        return torch.baddbmm(self.bias, x, self.weight)


class ResidualModels(nn.Module):
    """M models that predict the next features side by side: [..., D] and an action [...] int64 -> [M, ..., D].

    A layer, ``blocks`` residual blocks of two layers and a linear one; the action is an input of every layer (Burda et
    al. 2018, "Large-scale study of curiosity-driven learning").
    """

    def __init__(self, models: int, size: int, actions: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.models, self.actions = models, actions
        self.enter = Parallel(models, size + actions, hidden)
        self.blocks = nn.ModuleList(Parallel(models, hidden + actions, hidden) for _ in range(2 * blocks))
        self.leave = Parallel(models, hidden + actions, size)

    def forward(self, before: Tensor, action: Tensor) -> Tensor:
        """Return each model's predicted features."""
        x = before.flatten(0, -2).expand(self.models, -1, -1)
        done = one_hot(action.flatten(), self.actions).to(x.dtype).expand(self.models, -1, -1)

        def given(layer: nn.Module, x: Tensor) -> Tensor:
            y: Tensor = layer(torch.cat([x, done.to(x.dtype)], -1))
            return y

        y = F.leaky_relu(given(self.enter, x), 0.2)
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            y = y + given(second, F.leaky_relu(given(first, y), 0.2))
        return given(self.leave, y).float().view(self.models, *action.shape, -1)
