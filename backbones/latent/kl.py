"""KL divergence of codes from their prior, in nats, and policies for its term in the loss."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from ..numerics import at_least_float32


def gaussian_kl(mean: Tensor, log_scale: Tensor, prior_mean: Tensor, prior_log_scale: Tensor) -> Tensor:
    """Return KL(q || p) per component, of any shape: ``ln(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2``.

    Kingma and Welling, "Auto-encoding variational Bayes" (ICLR 2014), appendix B, for any Gaussian p. Computed in at
    least float32.
    """
    mean, log_scale = at_least_float32(mean), at_least_float32(log_scale)
    prior_mean, prior_log_scale = at_least_float32(prior_mean), at_least_float32(prior_log_scale)
    ratio = log_scale - prior_log_scale
    distance = (mean - prior_mean) * torch.exp(-prior_log_scale)
    return (torch.expm1(2 * ratio) + distance.square()) / 2 - ratio  # expm1 is accurate where q is nearly p


def unit_gaussian_kl(mean: Tensor, prior_mean: Tensor, prior_log_scale: Tensor) -> Tensor:
    """Return KL(N(c, 1) || N(m, s^2)) per component: ``ln s + (1 + (c - m)^2) / (2 s^2) - 1/2``.

    Graves, Menick and van den Oord, "Associative compression networks for representation learning" (2018).
    """
    return gaussian_kl(mean, torch.zeros_like(mean), prior_mean, prior_log_scale)


def annealed(step: int, steps: int) -> float:
    """Return a weight that rises linearly from 0 at step 0 to 1 at step ``steps``; always 1 where ``steps`` is 0."""
    return min(1.0, step / steps) if steps else 1.0


def check_warmup(steps: int) -> None:
    """Raise ValueError for a negative number of steps."""
    if steps < 0:
        raise ValueError(f"a warm-up lasts 0 steps or more, not {steps}")


def total(kl: Tensor) -> Tensor:
    """Return the sum over groups, averaged over items: [B, G] to []."""
    return kl.sum(1).mean()


def free_bits(kl: Tensor, floor: float) -> Tensor:
    """Return ``sum_g max(floor, mean_b KL_bg)``, [B, G] to []; groups below ``floor`` get no gradient.

    Kingma et al., "Improving variational inference with inverse autoregressive flow" (NIPS 2016); ``floor`` is lambda.
    """
    return kl.mean(0).clamp(min=floor).sum()


def adapted(weight: Tensor, kl: Tensor, floor: float) -> Tensor:
    """Return the weight [], multiplied by 0.9 if the total KL is below ``floor``, by 1.1 if it is above 1.05 ``floor``.

    The result is clamped to at most 1, and to at least 1e-6, since a weight of 0 could not grow again. Chen et al.,
    "Variational lossy autoencoder" (ICLR 2017).
    """
    nats = total(kl)
    change = torch.where(nats < floor, 0.9, torch.where(nats > 1.05 * floor, 1.1, 1.0))
    return (weight * change).clamp(1e-6, 1.0)


class KLPolicy(nn.Module, abc.ABC):
    """Policy that maps the KL of each item and group [B, G] to a term of the loss [], in nats per item.

    ``step`` counts updates from 0. ``forward`` changes no state; ``observe`` is called with the KL once after each
    update.
    """

    @abc.abstractmethod
    def forward(self, kl: Tensor, step: int) -> Tensor:
        """Map the KL [B, G] to a term of the loss []."""

    def observe(self, kl: Tensor) -> None:
        """Update statistics with the KL [B, G]."""


class Beta(KLPolicy):
    """Term ``beta KL``, whose weight rises from 0 to beta within ``warmup_steps``; by default the KL term of -ELBO.

    Higgins et al., "beta-VAE" (ICLR 2017); warm-up: Bowman et al., "Generating sentences from a continuous space"
    (2016).
    """

    def __init__(self, beta: float = 1.0, warmup_steps: int = 0) -> None:
        super().__init__()
        check_warmup(warmup_steps)
        self.beta, self.warmup_steps = beta, warmup_steps

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """Map the KL [B, G] to a term of the loss []."""
        return self.beta * annealed(step, self.warmup_steps) * total(kl)


class FreeBits(KLPolicy):
    """Policy under which up to ``floor`` nats per group are free; the constant they add to the loss is kept."""

    def __init__(self, floor: float = 0.1) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """Map the KL [B, G] to a term of the loss []."""
        return free_bits(kl, self.floor)


class SoftFreeBits(KLPolicy):
    """Term ``gamma KL``, where gamma [] adapts so that all groups together use ``floor`` nats."""

    weight: Tensor

    def __init__(self, floor: float = 1.0) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("weight", torch.ones(()))

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """Map the KL [B, G] to a term of the loss []."""
        return self.weight * total(kl)

    @torch.no_grad()
    def observe(self, kl: Tensor) -> None:
        """Adapt the weight to the KL [B, G]."""
        self.weight = adapted(self.weight, kl, self.floor)


class Capacity(KLPolicy):
    """Term ``gamma |KL - C|`` of the batch's mean KL, where C rises from 0 to ``nats`` within ``steps``.

    Burgess et al., "Understanding disentangling in beta-VAE" (2018).
    """

    def __init__(self, gamma: float = 10.0, nats: float = 10.0, steps: int = 10_000) -> None:
        super().__init__()
        check_warmup(steps)
        self.gamma, self.nats, self.steps = gamma, nats, steps

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """Map the KL [B, G] to a term of the loss []."""
        return self.gamma * (total(kl) - self.nats * annealed(step, self.steps)).abs()


KL_POLICIES: dict[str, type[KLPolicy]] = {
    "beta": Beta,
    "free-bits": FreeBits,
    "soft-free-bits": SoftFreeBits,
    "capacity": Capacity,
}
