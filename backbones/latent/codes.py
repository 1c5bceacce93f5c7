"""Distributions over codes z [B, Z], given an item or from a prior. Samples and scores are in at least float32."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..numerics import at_least_float32, gaussian_log_prob


class Code(Protocol):
    """Distribution q(z), batched as its ``mean`` [..., Z]."""

    @property
    def mean(self) -> Tensor:
        """Mean of the distribution, [..., Z]."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Sample [..., Z] such that gradients reach the parameters."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density, [...] in nats, of z [..., Z], broadcast against the mean."""


class Delta(NamedTuple):
    """Point mass, with infinite log-density at its point."""

    mean: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the point."""
        return self.mean

    def log_prob(self, z: Tensor) -> Tensor:
        """Return infinity at the point, minus infinity elsewhere."""
        return torch.where((z == self.mean).all(-1), z.new_tensor(torch.inf), -torch.inf)


class Gaussian(NamedTuple):
    """Gaussian distribution with independent components."""

    mean: Tensor
    log_scale: Tensor  # [..., Z], log standard deviations

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Sample ``mean + scale noise``."""
        mean, scale = at_least_float32(self.mean), at_least_float32(self.log_scale).exp()
        return mean + scale * noise(mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``sum_j ln N(z_j; mean_j, scale_j^2)``."""
        return gaussian_log_prob(z, self.mean, self.log_scale)


class UnitGaussian(NamedTuple):
    """Gaussian with independent components of variance 1, so that only distances between means carry information."""

    mean: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Sample ``mean + noise``."""
        mean = at_least_float32(self.mean)
        return mean + noise(mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return ``sum_j ln N(z_j; mean_j, 1)``."""
        return gaussian_log_prob(z, self.mean, torch.zeros_like(self.mean))


def noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Sample standard normal numbers of the shape of ``like``."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
