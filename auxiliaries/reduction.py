"""The only place where losses and logged values are averaged."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from .pooling import ExplainedVariance, Mean


def reduce(
    value: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], count: Tensor | None = None
) -> Float[Tensor, ""]:
    """Compute the mean over the mask, 0 if it is empty: the only reduction of any loss.

    Values are selected, not multiplied by the mask, so that NaN outside the mask affects neither value nor gradient.
    ``count``, a positive scalar, is the divisor if given: the mean number of masked elements per minibatch, so that
    each counts equally, whichever minibatch it is in.
    """
    return torch.where(mask, value, 0.0).sum() / (mask.sum().clamp(min=1) if count is None else count)


def average(value: Shaped[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int | None = None) -> Mean:
    """Compute a metric: the mean over the mask, of all elements or along ``dim``; NaN, which records leave out, if it
    is empty. Pooled over updates: each element counts equally.
    """
    return Mean.of(torch.where(mask, value, 0.0).sum(dim, dtype=torch.float64), mask.sum(dim))


def explained_variance(
    value: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]
) -> ExplainedVariance:
    """Compute a metric: 1 - Var[target - V] / Var[target] over the mask, pooled over updates."""
    return ExplainedVariance.of(value, target, mask)
