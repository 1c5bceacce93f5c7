"""Interface of sources with known likelihood, and functions shared by several of them."""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor

from ..checks import check_shape


class Source(abc.ABC):
    """Distribution over items with exactly known probabilities, with which a density model's nats are compared.

    Parameters are fixed at construction, sampled from the source's own generator. Everything is on the CPU.
    """

    shape: tuple[int, ...]  # of one item: [T], [H, W, C] or [F, H, W, C]
    symbols: int | None  # number of symbols, which are 0 to symbols - 1; None for real numbers
    bounds: dict[str, float]  # nats per item: lower bounds for models with a limited view of the past

    @abc.abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample ``count`` independent items [count, *shape] int64."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the exact log-probabilities of items [count, *shape], [count] float64 in nats.

        Raises ValueError for items of another shape.
        """
        check_shape("a batch of this source's items", x, "count", *self.shape)
        return self._log_prob(x)

    @abc.abstractmethod
    def _log_prob(self, x: Tensor) -> Tensor:
        """Return the same for items of the right shape."""

    @abc.abstractmethod
    def entropy(self) -> tuple[float, float]:
        """Return the entropy in nats per item and its standard error, which is 0 where it is computed exactly."""


def seeded(seed: int) -> torch.Generator:
    """Return a new generator with this seed."""
    return torch.Generator().manual_seed(seed)


def estimating(seed: int) -> torch.Generator:
    """Return a generator for estimating an entropy, independent of the one that sampled the parameters."""
    return seeded(seed + 2**31)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of independent values [count] and its standard error."""
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def dirichlet(rows: int, symbols: int, concentration: float, generator: torch.Generator) -> Tensor:
    """Sample distributions [rows, symbols] float64 from the symmetric Dirichlet distribution."""
    return torch._sample_dirichlet(torch.full((rows, symbols), concentration, dtype=torch.float64), generator)


def draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Sample one symbol from each distribution [count, symbols], [count] int64."""
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def entropy_of(law: Tensor) -> Tensor:
    """Return ``-sum_v p(v) log p(v)`` over the last axis, in nats; 0 log 0 is 0."""
    terms: Tensor = torch.special.xlogy(law, law)
    return -terms.sum(-1)
