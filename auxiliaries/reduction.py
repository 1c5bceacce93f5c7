"""The one place that averages losses, and what is averaged for the log."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from .pooling import ExplainedVariance, Mean


def reduce(value: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean over the mask, 0 where it is empty: the only reduction of any loss.

    Both sides are selected, not multiplied, so that NaN outside the mask reaches neither value nor gradient.
    """
    return torch.where(mask, value, 0.0).sum() / mask.sum().clamp(min=1)


def average(value: Shaped[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int | None = None) -> Mean:
    """For the log: the mean over the mask, of all or along ``dim``; NaN, which records leave out, where it is empty.
    Pooled over updates: each element counts alike.
    """
    return Mean.of(torch.where(mask, value, 0.0).sum(dim, dtype=torch.float64), mask.sum(dim))


def explained_variance(
    value: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]
) -> ExplainedVariance:
    """For the log: 1 - Var[target - V] / Var[target] over the mask, pooled over updates."""
    return ExplainedVariance.of(value, target, mask)
