"""Distributions over codes: what an item, or a prior, says of z [B, Z]. Drawn and scored at least in float32."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..numerics import at_least_float32, gaussian_log_prob


class Code(Protocol):
    """q(z), batched as its ``mean`` [..., Z] is."""

    @property
    def mean(self) -> Tensor:
        """[..., Z]."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """[..., Z], such that gradients reach the parameters."""

    def log_prob(self, z: Tensor) -> Tensor:
        """[..., Z], broadcast against the mean -> [...], nats."""


class Delta(NamedTuple):
    """One point, told to infinitely many digits: its log-density there is infinite."""

    mean: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """The point."""
        return self.mean

    def log_prob(self, z: Tensor) -> Tensor:
        """Infinity at the point, minus infinity elsewhere."""
        return torch.where((z == self.mean).all(-1), z.new_tensor(torch.inf), -torch.inf)


class Gaussian(NamedTuple):
    """Independent numbers."""

    mean: Tensor
    log_scale: Tensor  # [..., Z], of standard deviations

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """``mean + scale noise``."""
        mean, scale = at_least_float32(self.mean), at_least_float32(self.log_scale).exp()
        return mean + scale * noise(mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """``sum_j ln N(z_j; mean_j, scale_j^2)``."""
        return gaussian_log_prob(z, self.mean, self.log_scale)


class UnitGaussian(NamedTuple):
    """Independent numbers of variance 1: only how far apart the means are can say anything."""

    mean: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """``mean + noise``."""
        mean = at_least_float32(self.mean)
        return mean + noise(mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """``sum_j ln N(z_j; mean_j, 1)``."""
        return gaussian_log_prob(z, self.mean, torch.zeros_like(self.mean))


def noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of the shape of ``like``."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
