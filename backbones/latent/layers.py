"""What encoders, priors and decoders are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def perceptron(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """[..., inputs] -> [..., outputs], through ReLU layers of the widths ``hidden``; none: a linear map."""
    layers: list[nn.Module] = []
    for a, b in pairwise([inputs, *hidden]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear([inputs, *hidden][-1], outputs))


def scaled(x: Tensor, levels: int, like: Tensor) -> Tensor:
    """Levels 0 to ``levels - 1`` -> [-1, 1], in the type of ``like``."""
    return 2 * x.to(like.dtype) / (levels - 1) - 1
