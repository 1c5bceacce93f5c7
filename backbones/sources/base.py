"""What a source of known likelihood offers, and the few functions that several of them need."""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor

from ..checks import check_shape


class Source(abc.ABC):
    """A law of items whose probabilities are known exactly: what a density model's nats are compared with.

    Parameters are fixed at construction, drawn from a generator of the source's own. Everything is on the CPU.
    """

    shape: tuple[int, ...]  # of one item: [T], [H, W, C] or [F, H, W, C]
    symbols: int | None  # how many there are, 0 to symbols - 1; None for real numbers
    bounds: dict[str, float]  # nats an item: the least a model can reach that sees only so much of what came before

    @abc.abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """[count, *shape] int64, independent items."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Items [count, *shape] -> [count] float64, nats an item, exact. ValueError for items of another shape."""
        check_shape("a batch of this source's items", x, "count", *self.shape)
        return self._log_prob(x)

    @abc.abstractmethod
    def _log_prob(self, x: Tensor) -> Tensor:
        """The same, of items of the right shape."""

    @abc.abstractmethod
    def entropy(self) -> tuple[float, float]:
        """Nats an item and the standard error of that figure: 0 where it is computed, not estimated."""


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def estimating(seed: int) -> torch.Generator:
    """The generator of the items an entropy is estimated from: not the one that drew the parameters."""
    return seeded(seed + 2**31)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Of independent values [count]: their mean and its standard error."""
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def dirichlet(rows: int, symbols: int, concentration: float, generator: torch.Generator) -> Tensor:
    """[rows, symbols] float64, each row a law drawn from the symmetric Dirichlet distribution."""
    return torch._sample_dirichlet(torch.full((rows, symbols), concentration, dtype=torch.float64), generator)


def draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Laws [count, symbols] -> one symbol from each, [count] int64."""
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def entropy_of(law: Tensor) -> Tensor:
    """``-sum_v p(v) log p(v)`` over the last axis, nats; 0 log 0 is 0."""
    terms: Tensor = torch.special.xlogy(law, law)
    return -terms.sum(-1)
