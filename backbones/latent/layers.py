"""Layers shared by encoders, priors and decoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def perceptron(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Build a map [..., inputs] to [..., outputs] with ReLU layers of the widths ``hidden``; none: a linear map."""
    layers: list[nn.Module] = []
    for a, b in pairwise([inputs, *hidden]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear([inputs, *hidden][-1], outputs))


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the module's weights, which its inputs must have."""
    return next(module.parameters()).dtype
