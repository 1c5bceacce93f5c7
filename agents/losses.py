"""The actor-critic losses, unreduced [T, B]."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..backbones.numerics import log_prob


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
