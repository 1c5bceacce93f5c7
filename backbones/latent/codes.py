"""Distributions over codes: what an item, or a prior, says of z [B, Z]."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


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
        return self.mean + self.log_scale.exp() * noise(self.mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """``sum_j ln N(z_j; mean_j, scale_j^2)``."""
        distance = (z - self.mean) * torch.exp(-self.log_scale)
        return -(distance.square() / 2 + self.log_scale + LOG_2PI / 2).sum(-1)


class UnitGaussian(NamedTuple):
    """Independent numbers of variance 1: only how far apart the means are can say anything."""

    mean: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """``mean + noise``."""
        return self.mean + noise(self.mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """``sum_j ln N(z_j; mean_j, 1)``."""
        return -((z - self.mean).square() / 2 + LOG_2PI / 2).sum(-1)


def noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of the shape of ``like``."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
