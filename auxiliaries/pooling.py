"""Figures for the log that are ratios: kept as their sums, so that those of many updates are one figure.

A mean over updates of such ratios would count an update on three steps as much as one on three hundred, and a ratio of
variances is dominated by the updates in which next to nothing varied. Sums of two updates are added; the ratio is taken
when a record is made. All is added up in float64, so that variances of large means survive it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

CONSTANT = 1e-6
"""Of its size: what varies less is rounding."""


@dataclass(frozen=True, eq=False)
class Pooled(abc.ABC):
    """Sums on the device, without gradient; `value` is what they come to, NaN where there was nothing. Torch's
    functions take it for that tensor.
    """

    sums: Tensor

    @property
    @abc.abstractmethod
    def value(self) -> Tensor:
        """The figure, on the device."""

    def __add__(self, other: Self) -> Self:
        return type(self)(self.sums + other.sums)

    def item(self) -> float:
        """The figure, for the host, which waits."""
        return float(self.value.item())

    __float__ = item

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return function(*_figures(args), **{name: _figures(x) for name, x in (kwargs or {}).items()})


class Mean(Pooled):
    """A sum and of how many: ``sums`` [2, ...]."""

    @classmethod
    def of(cls, total: Tensor, count: Tensor) -> Self:
        """``total / count``, of one shape."""
        return cls(torch.stack([total.detach().double(), count.double()]))

    @property
    def value(self) -> Tensor:
        """Total over count."""
        return self.sums[0] / self.sums[1]


class ExplainedVariance(Pooled):
    """How much of a target's variance a guess explains: ``sums`` [5] of 1, y, y^2, e, e^2; y is the target, e the
    error.
    """

    @classmethod
    def of(cls, guess: Tensor, target: Tensor, mask: Tensor) -> Self:
        """Of the elements in the mask; what is outside may be NaN."""
        y, error = (torch.where(mask, x, 0.0).detach().double() for x in (target, target - guess))
        return cls(torch.stack([mask.sum().double(), y.sum(), y.square().sum(), error.sum(), error.square().sum()]))

    @property
    def value(self) -> Tensor:
        """``1 - Var[e] / Var[y]``: 1 is a perfect guess, 0 no better than a constant; 0, too, where y does not vary."""
        count, y, yy, e, ee = self.sums
        spread = yy / count - (y / count).square()
        # Where the target is constant but for float32's rounding, 1e-7 of it or so, there is nothing to explain.
        varies = spread > CONSTANT**2 * yy / count
        return torch.where(varies | (count == 0), 1 - (ee / count - (e / count).square()) / spread, 0.0)


class Commonest(Pooled):
    """How often the commonest of C classes comes, which is how often who always names it is right: ``sums`` [C]."""

    @classmethod
    def of(cls, classes: Tensor, mask: Tensor) -> Self:
        """``classes`` [..., C] one-hot, of the rows in the mask [...]."""
        return cls((classes.bool() & mask.unsqueeze(-1)).flatten(0, -2).sum(0).double())

    @property
    def value(self) -> Tensor:
        """Its share."""
        return self.sums.max() / self.sums.sum()


KINDS: dict[str, type[Pooled]] = {kind.__name__: kind for kind in (Mean, ExplainedVariance, Commonest)}

Metric = Tensor | Pooled
"""What is logged: a tensor (a scalar, or [K] for a curve) is averaged over updates, each alike."""


def value_of(metric: Metric) -> Tensor:
    """The figure of one update."""
    return metric.value if isinstance(metric, Pooled) else metric


def _figures(x: Any) -> Any:
    """``x`` with tensors for what is pooled, also in lists and tuples."""
    if isinstance(x, list | tuple):
        return type(x)(map(_figures, x))
    return x.value if isinstance(x, Pooled) else x


def over_updates(figure: Tensor, *, sparse: bool = False) -> Mean:
    """One update's ``figure``, to be averaged over updates. ``sparse``: NaN says that there was nothing to average, and
    does not count; otherwise it stays NaN.
    """
    there = ~torch.isnan(figure) if sparse else torch.ones_like(figure, dtype=torch.bool)
    return Mean.of(torch.where(there, figure, 0.0), there)
