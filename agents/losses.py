"""The actor-critic losses, unreduced [T, B]."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..backbones.numerics import log_prob


def policy_gradient(
    logits: Float[Tensor, "T B A"], action: Int[Tensor, "T B"], advantage: Float[Tensor, "T B"]
) -> Float[Tensor, "T B"]:
    """Compute -log pi(a_t | h_t) A_t with a constant advantage (Mnih et al. 2016)."""
    return -log_prob(logits, action) * advantage.detach()


def clipped_surrogate(
    log_ratio: Float[Tensor, "T B"], advantage: Float[Tensor, "T B"], clip: float
) -> Float[Tensor, "T B"]:
    """Compute -min(r A, clip(r, 1 - clip, 1 + clip) A) with r = pi / pi_old of the action taken and a constant
    advantage (Schulman et al. 2017, PPO, equation 7). Once r has moved in the advantage's favour by more than ``clip``,
    there is no gradient; at r = 1 it is that of `policy_gradient`.
    """
    ratio, advantage = log_ratio.exp(), advantage.detach()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def kl_divergence(old: Float[Tensor, "T B A"], logits: Float[Tensor, "T B A"]) -> Float[Tensor, "T B"]:
    """Compute KL(pi_old || pi) = sum_a pi_old(a) (log pi_old(a) - log pi(a)) in nats."""
    before, after = F.log_softmax(old, dim=-1), F.log_softmax(logits, dim=-1)
    return (before.exp() * (before - after)).sum(-1)


def squared_error(value: Float[Tensor, "T B"], target: Float[Tensor, "T B"]) -> Float[Tensor, "T B"]:
    """Compute (target_t - V_t)^2 / 2 with a constant target."""
    return (target.detach() - value).square() / 2


def clipped_squared_error(
    value: Float[Tensor, "T B"], old: Float[Tensor, "T B"], target: Float[Tensor, "T B"], clip: float
) -> Float[Tensor, "T B"]:
    """Compute max((target - V)^2, (target - V_clipped)^2) / 2 with V_clipped = V_old + clip(V - V_old, -clip, clip),
    and a constant target and V_old (the value loss of the PPO baselines).
    """
    near = old.detach() + (value - old.detach()).clamp(-clip, clip)
    return torch.maximum(squared_error(value, target), squared_error(near, target))


def negative_entropy(logits: Float[Tensor, "T B A"]) -> Float[Tensor, "T B"]:
    """Compute sum_a pi(a) log pi(a) over the whole distribution, in nats; *minimising* it increases the entropy."""
    log_pi = F.log_softmax(logits, dim=-1)
    return (log_pi.exp() * log_pi).sum(-1)
