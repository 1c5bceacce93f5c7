"""Metrics that are ratios, stored as sums so that many updates combine into one value.

A mean of such ratios over updates would count an update with three steps as much as one with three hundred, and ratios
of variances would be dominated by updates in which almost nothing varied. The sums of updates are added, and the ratio
is computed when a record is made. Sums are accumulated in float64, so that variances of large means remain accurate.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

CONSTANT = 1e-6
"""Relative size below which variation is treated as rounding error."""


@dataclass(frozen=True, eq=False)
class Pooled(abc.ABC):
    """Sums on the device, without gradient; `value` is the metric computed from them, NaN if there is no data. Torch
    functions accept it in place of that tensor.
    """

    sums: Tensor

    @property
    @abc.abstractmethod
    def value(self) -> Tensor:
        """Return the metric, on the device."""

    def __add__(self, other: Self) -> Self:
        return type(self)(self.sums + other.sums)

    def item(self) -> float:
        """Return the metric as a Python number; the host waits for the device."""
        return float(self.value.item())

    __float__ = item

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return function(*_figures(args), **{name: _figures(x) for name, x in (kwargs or {}).items()})


class Mean(Pooled):
    """A sum and a count: ``sums`` [2, ...]."""

    @classmethod
    def of(cls, total: Tensor, count: Tensor) -> Self:
        """Build from ``total`` and ``count`` of equal shape."""
        return cls(torch.stack([total.detach().double(), count.double()]))

    @property
    def value(self) -> Tensor:
        """Return total / count."""
        return self.sums[0] / self.sums[1]


class ExplainedVariance(Pooled):
    """The fraction of a target's variance that a prediction explains: ``sums`` [5] of 1, y, y^2, e, e^2; y is the
    target, e the error.
    """

    @classmethod
    def of(cls, guess: Tensor, target: Tensor, mask: Tensor) -> Self:
        """Build from the elements in the mask; values outside may be NaN."""
        y, error = (torch.where(mask, x, 0.0).detach().double() for x in (target, target - guess))
        return cls(torch.stack([mask.sum().double(), y.sum(), y.square().sum(), error.sum(), error.square().sum()]))

    @property
    def value(self) -> Tensor:
        """Return ``1 - Var[e] / Var[y]``: 1 for a perfect prediction, 0 for one no better than a constant; also 0 if y
        does not vary.
        """
        count, y, yy, e, ee = self.sums
        spread = yy / count - (y / count).square()
        # If the target is constant except for float32's rounding, about 1e-7 of it, there is nothing to explain.
        varies = spread > CONSTANT**2 * yy / count
        return torch.where(varies | (count == 0), 1 - (ee / count - (e / count).square()) / spread, 0.0)


class Commonest(Pooled):
    """The frequency of the most common of C classes, which is the accuracy of always predicting it: ``sums`` [C]."""

    @classmethod
    def of(cls, classes: Tensor, mask: Tensor) -> Self:
        """Build from ``classes`` [..., C] one-hot, of the rows in the mask [...]."""
        return cls((classes.bool() & mask.unsqueeze(-1)).flatten(0, -2).sum(0).double())

    @property
    def value(self) -> Tensor:
        """Return the frequency of the most common class."""
        return self.sums.max() / self.sums.sum()


KINDS: dict[str, type[Pooled]] = {kind.__name__: kind for kind in (Mean, ExplainedVariance, Commonest)}

Metric = Tensor | Pooled
"""A logged value: a tensor (a scalar, or [K] for a curve) is averaged over updates with equal weight."""


def value_of(metric: Metric) -> Tensor:
    """Return the value of one update."""
    return metric.value if isinstance(metric, Pooled) else metric


def _figures(x: Any) -> Any:
    """Return ``x`` with pooled metrics replaced by tensors, also in lists and tuples."""
    if isinstance(x, list | tuple):
        return type(x)(map(_figures, x))
    return x.value if isinstance(x, Pooled) else x


def merged(updates: Sequence[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Return the metrics of several updates as those of one: pooled ones are pooled, and tensors averaged over the
    updates that have them.
    """
    found: dict[str, Metric] = {}
    for name in dict.fromkeys(name for metrics in updates for name in metrics):
        parts = [metrics[name] for metrics in updates if name in metrics]
        pools, tensors = [x for x in parts if isinstance(x, Pooled)], [x for x in parts if isinstance(x, Tensor)]
        found[name] = sum(pools[1:], start=pools[0]) if pools else torch.stack(tensors).mean(0)
    return found


def over_updates(figure: Tensor, *, sparse: bool = False) -> Mean:
    """Pool one update's ``figure`` as a mean over updates. ``sparse``: NaN means that there was nothing to average, and
    is not counted; otherwise the mean becomes NaN.
    """
    there = ~torch.isnan(figure) if sparse else torch.ones_like(figure, dtype=torch.bool)
    return Mean.of(torch.where(there, figure, 0.0), there)
