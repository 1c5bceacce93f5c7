"""The actor-critic losses, unreduced [T, B]."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..backbones.numerics import log_prob


def policy_gradient(
    logits: Float[Tensor, "T B A"], action: Int[Tensor, "T B"], advantage: Float[Tensor, "T B"]
) -> Float[Tensor, "T B"]:
    """Compute -log pi(a_t | h_t) A_t with a constant advantage (Mnih et al. 2016)."""
    return -log_prob(logits, action) * advantage.detach()


def squared_error(value: Float[Tensor, "T B"], target: Float[Tensor, "T B"]) -> Float[Tensor, "T B"]:
    """Compute (target_t - V_t)^2 / 2 with a constant target."""
    return (target.detach() - value).square() / 2


def negative_entropy(logits: Float[Tensor, "T B A"]) -> Float[Tensor, "T B"]:
    """Compute sum_a pi(a) log pi(a) over the whole distribution, in nats; *minimising* it increases the entropy."""
    log_pi = F.log_softmax(logits, dim=-1)
    return (log_pi.exp() * log_pi).sum(-1)
