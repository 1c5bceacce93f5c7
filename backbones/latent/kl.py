"""How far a code is from what was expected of it, in nats, and what a loss makes of that."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from ..numerics import at_least_float32


def gaussian_kl(mean: Tensor, log_scale: Tensor, prior_mean: Tensor, prior_log_scale: Tensor) -> Tensor:
    """KL(q || p) of each number, any shape: ``ln(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2``.

    (Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, appendix B, for any p.) At least in float32.
    """
    mean, log_scale = at_least_float32(mean), at_least_float32(log_scale)
    prior_mean, prior_log_scale = at_least_float32(prior_mean), at_least_float32(prior_log_scale)
    ratio = log_scale - prior_log_scale
    distance = (mean - prior_mean) * torch.exp(-prior_log_scale)
    return (torch.expm1(2 * ratio) + distance.square()) / 2 - ratio  # expm1: exact where q is nearly p


def unit_gaussian_kl(mean: Tensor, prior_mean: Tensor, prior_log_scale: Tensor) -> Tensor:
    """KL(N(c, 1) || N(m, s^2)) of each number: ``ln s + (1 + (c - m)^2) / (2 s^2) - 1/2`` (Graves, Menick and van den
    Oord, "Associative compression networks for representation learning", 2018).
    """
    return gaussian_kl(mean, torch.zeros_like(mean), prior_mean, prior_log_scale)


def annealed(step: int, steps: int) -> float:
    """From 0 at step 0 in a line to 1 at step ``steps``, and 1 from there on; always 1 where ``steps`` is 0."""
    return min(1.0, step / steps) if steps else 1.0


def check_warmup(steps: int) -> None:
    """ValueError for fewer than 0."""
    if steps < 0:
        raise ValueError(f"a warm-up lasts 0 steps or more, not {steps}")


def total(kl: Tensor) -> Tensor:
    """[B, G] -> []: the groups' sum, its mean over items."""
    return kl.sum(1).mean()


def free_bits(kl: Tensor, floor: float) -> Tensor:
    """[B, G] -> []: ``sum_g max(lambda, mean_b KL_bg)``: a group below ``floor`` costs no more than it, and is left
    alone (Kingma et al., "Improving variational inference with inverse autoregressive flow", NIPS 2016).
    """
    return kl.mean(0).clamp(min=floor).sum()


def adapted(weight: Tensor, kl: Tensor, floor: float) -> Tensor:
    """[] -> []: a tenth less where the total KL is under ``floor``, a tenth more, to 1 at most, where it is over
    1.05 ``floor`` (Chen et al., "Variational lossy autoencoder", ICLR 2017).

    Never less than 1e-6: a weight of 0 could not grow again.
    """
    nats = total(kl)
    change = torch.where(nats < floor, 0.9, torch.where(nats > 1.05 * floor, 1.1, 1.0))
    return (weight * change).clamp(1e-6, 1.0)


class KLPolicy(nn.Module, abc.ABC):
    """KL of each item and group [B, G] -> a term of the loss [], nats an item; ``step`` counts updates from 0.

    ``forward`` changes nothing; ``observe`` is told the KL once an update, after it.
    """

    @abc.abstractmethod
    def forward(self, kl: Tensor, step: int) -> Tensor:
        """[B, G] -> []."""

    def observe(self, kl: Tensor) -> None:
        """Statistics of [B, G]."""


class Beta(KLPolicy):
    """``beta KL``, from 0 up to it within ``warmup_steps`` (Higgins et al., "beta-VAE", ICLR 2017; the warm-up:
    Bowman et al., "Generating sentences from a continuous space", 2016). By default -ELBO's own term.
    """

    def __init__(self, beta: float = 1.0, warmup_steps: int = 0) -> None:
        super().__init__()
        check_warmup(warmup_steps)
        self.beta, self.warmup_steps = beta, warmup_steps

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """[B, G] -> []."""
        return self.beta * annealed(step, self.warmup_steps) * total(kl)


class FreeBits(KLPolicy):
    """Up to ``floor`` nats a group are free; the constant that this adds to the loss is kept, as published."""

    def __init__(self, floor: float = 0.1) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """[B, G] -> []."""
        return free_bits(kl, self.floor)


class SoftFreeBits(KLPolicy):
    """``gamma KL``, where gamma [] adapts until ``floor`` nats, of all groups together, are used."""

    weight: Tensor

    def __init__(self, floor: float = 1.0) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("weight", torch.ones(()))

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """[B, G] -> []."""
        return self.weight * total(kl)

    @torch.no_grad()
    def observe(self, kl: Tensor) -> None:
        """Adapts the weight."""
        self.weight = adapted(self.weight, kl, self.floor)


class Capacity(KLPolicy):
    """``gamma |KL - C|`` of the batch's mean KL, C from 0 to ``nats`` within ``steps`` (Burgess et al., "Understanding
    disentangling in beta-VAE", 2018).
    """

    def __init__(self, gamma: float = 10.0, nats: float = 10.0, steps: int = 10_000) -> None:
        super().__init__()
        check_warmup(steps)
        self.gamma, self.nats, self.steps = gamma, nats, steps

    def forward(self, kl: Tensor, step: int) -> Tensor:
        """[B, G] -> []."""
        return self.gamma * (total(kl) - self.nats * annealed(step, self.steps)).abs()


KL_POLICIES: dict[str, type[KLPolicy]] = {
    "beta": Beta,
    "free-bits": FreeBits,
    "soft-free-bits": SoftFreeBits,
    "capacity": Capacity,
}
