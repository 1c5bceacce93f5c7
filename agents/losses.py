"""The actor-critic losses, unreduced [T, B], and the one place that averages."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def log_prob(logits: Float[Tensor, "T B A"], action: Int[Tensor, "T B"]) -> Float[Tensor, "T B"]:
    """log pi(a_t | h_t)."""
    return F.log_softmax(logits, dim=-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)


def policy_gradient(
    logits: Float[Tensor, "T B A"], action: Int[Tensor, "T B"], advantage: Float[Tensor, "T B"]
) -> Float[Tensor, "T B"]:
    """-log pi(a_t | h_t) A_t, the advantage a constant (Mnih et al. 2016)."""
    return -log_prob(logits, action) * advantage.detach()


def squared_error(value: Float[Tensor, "T B"], target: Float[Tensor, "T B"]) -> Float[Tensor, "T B"]:
    """(target_t - V_t)^2 / 2, the target a constant."""
    return (target.detach() - value).square() / 2


def negative_entropy(logits: Float[Tensor, "T B A"]) -> Float[Tensor, "T B"]:
    """sum_a pi(a) log pi(a) of the whole distribution, in nats: *minimised*, so that entropy grows."""
    log_pi = F.log_softmax(logits, dim=-1)
    return (log_pi.exp() * log_pi).sum(-1)


def reduce(value: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean over the mask, 0 where it is empty: the only reduction of any loss.

    Both sides are selected, not multiplied, so that NaN outside the mask reaches neither value nor gradient.
    """
    return torch.where(mask, value, 0.0).sum() / mask.sum().clamp(min=1)


def explained_variance(
    value: Float[Tensor, "T B"], target: Float[Tensor, "T B"], mask: Bool[Tensor, "T B"]
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
