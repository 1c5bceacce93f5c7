"""The one place that averages losses, and how well a critic does."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor


def reduce(value: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean over the mask, 0 where it is empty: the only reduction of any loss.

    Both sides are selected, not multiplied, so that NaN outside the mask reaches neither value nor gradient.
    """
    return torch.where(mask, value, 0.0).sum() / mask.sum().clamp(min=1)


def average(
    value: Shaped[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dim: int | None = None
) -> Float[Tensor, ...]:
    """For the log: the mean over the mask, of all or along ``dim``; NaN, which records leave out, where it is empty."""
    return torch.where(mask, value, 0.0).sum(dim).detach() / mask.sum(dim)


def explained_variance(
    value: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """1 - Var[target - V] / Var[target] over the mask: 1 is a perfect critic, 0 no better than a constant.

    0, too, where the target does not vary.
    """

    def variance(x: Tensor) -> Tensor:
        return reduce((x - reduce(x, mask)).square(), mask)

    spread = variance(target)
    # Where the target is constant but for rounding there is nothing to explain.
    varies = spread > 1e-10 * reduce(target.square(), mask)
    return torch.where(varies, 1 - variance(target - value) / spread, 0.0)
