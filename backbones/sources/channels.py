"""Pairs (a, b) of known mutual information, and the best value of contrastive estimates of it.

InfoNCE (van den Oord et al., "Representation learning with contrastive predictive coding", 2018): identify, among N
candidates, the one sampled together with a; the others are independent of it. ``log N - loss`` is a lower bound on
I(a; b), and never above log N (Poole et al., "On variational bounds of mutual information", 2019). Its best critic is
``log p(a, b) / (p(a) p(b))``.
"""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor

from .base import mean_and_error, seeded
from .symmetric import check_error, disturb, told_entropy, told_log_prob

ESTIMATED_FROM = 2**14
"""Number of pairs that an estimate uses, in at least two batches."""


class Channel(abc.ABC):
    """Distribution of pairs with given parameters."""

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample ``n`` independent pairs."""

    @abc.abstractmethod
    def mutual_information(self) -> float:
        """Return I(a; b) in nats."""

    @abc.abstractmethod
    def log_ratio(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``log p(a, b) - log p(a) p(b)`` of each pair, [n] float64."""

    @abc.abstractmethod
    def log_ratios(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the same for all combinations, [n, m] float64: row i is a_i with every b."""

    def info_nce_optimum(self, N: int) -> tuple[float, float]:
        """Return ``log N - loss`` of the best critic in batches of N pairs, in nats, and its standard error.

        No trained critic exceeds it in expectation.
        """
        generator = seeded(0)
        batches = [self.log_ratios(*self.sample(N, generator)) for _ in range(max(ESTIMATED_FROM // N, 2))]
        return mean_and_error(torch.stack([info_nce(ratios) for ratios in batches]))


def info_nce(log_ratios: Tensor) -> Tensor:
    """Return the bound ``log N + mean_i [f_ii - log sum_j exp f_ij]`` of critics f [N, N], in nats."""
    return math.log(len(log_ratios)) + (log_ratios.diagonal() - log_ratios.logsumexp(-1)).mean()


def binomial(n: int, p: float) -> Tensor:
    """Return ``n! / (j! (n - j)!) p^j (1 - p)^(n - j)`` for j = 0 .. n, [n + 1] float64."""
    j = torch.arange(n + 1, dtype=torch.float64)
    ways = math.lgamma(n + 1) - torch.lgamma(j + 1) - torch.lgamma(n - j + 1)
    return (ways + j * math.log(p) + (n - j) * math.log1p(-p)).exp()


class GaussianChannel(Channel):
    """Pairs a, b [n, d] float32, standard normal; each component of a has correlation ``rho`` with that of b."""

    def __init__(self, d: int = 4, rho: float = 0.8) -> None:
        self.d, self.rho = d, rho

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample a and ``b = rho a + sqrt(1 - rho^2) noise``."""
        a, noise = torch.randn(2, n, self.d, generator=generator)
        return a, self.rho * a + math.sqrt(1 - self.rho**2) * noise

    def mutual_information(self) -> float:
        """Return ``-(d / 2) log(1 - rho^2)``."""
        return -self.d / 2 * math.log1p(-(self.rho**2))

    def log_ratio(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``I - (rho^2 (a^2 + b^2) - 2 rho ab) / (2 (1 - rho^2))``."""
        a, b = a.double(), b.double()
        return self._log_ratio((a * a).sum(-1), (b * b).sum(-1), (a * b).sum(-1))

    def log_ratios(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the same for all combinations, [n, m]."""
        a, b = a.double(), b.double()
        return self._log_ratio((a * a).sum(-1, keepdim=True), (b * b).sum(-1), a @ b.T)

    def _log_ratio(self, aa: Tensor, bb: Tensor, ab: Tensor) -> Tensor:
        rho = self.rho
        return self.mutual_information() - (rho**2 * (aa + bb) - 2 * rho * ab) / (2 * (1 - rho**2))


class AutoregressivePairs(GaussianChannel):
    """Pairs of rows, ``lag`` apart, of ``x_t = rho x_{t-1} + sqrt(1 - rho^2) noise`` [d], with correlation ``rho^lag``.

    Their mutual information is the information available for predictions ``lag`` steps ahead.
    """

    def __init__(self, d: int = 4, rho: float = 0.95, lag: int = 1) -> None:
        super().__init__(d, rho**lag)


class SymmetricChannel(Channel):
    """Pairs a, b [n] int64 of ``symbols``, uniform; b equals a, or with probability ``error`` is any other symbol."""

    def __init__(self, symbols: int = 16, error: float = 0.1) -> None:
        check_error(error)
        self.symbols, self.error = symbols, error

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample a and b, [n] each."""
        a = torch.randint(self.symbols, (n,), generator=generator)
        return a, disturb(a, self.error, self.symbols, generator)

    def mutual_information(self) -> float:
        """Return ``log K - h(e) - e log(K - 1)``."""
        return math.log(self.symbols) - told_entropy(self.error, self.symbols)

    def log_ratio(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``log K (1 - e)`` where they are equal, ``log K e / (K - 1)`` where not."""
        return math.log(self.symbols) + told_log_prob(a == b, self.error, self.symbols)

    def log_ratios(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the same for all combinations, [n, m]."""
        return self.log_ratio(a.unsqueeze(-1), b)

    def info_nce_optimum(self, N: int) -> tuple[float, float]:
        """Return the exact optimum, and 0.

        With r the ratio, a binomial number J of the N - 1 other candidates equals a, and the loss is
        ``E[log(r + J r(equal) + (N - 1 - J) r(unequal)) - log r]``.
        """
        equal = torch.arange(N, dtype=torch.float64)  # J
        law = binomial(N - 1, 1 / self.symbols)
        right, wrong = self.symbols * (1 - self.error), self.symbols * self.error / (self.symbols - 1)
        others = equal * right + (N - 1 - equal) * wrong
        loss = 0.0
        for ratio, probability in ((right, 1 - self.error), (wrong, self.error)):
            if probability > 0:
                loss += probability * torch.dot(law, (1 + others / ratio).log()).item()
        return math.log(N) - loss, 0.0
