"""Observation whitening of RND (Burda et al. 2018, section 2.4)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .view import Views

LIMIT = 5.0
"""Whitened values are clipped to plus and minus this."""
FLOOR = {"image": 1.0, "vector": 1e-3}
"""Least standard deviation, in the units of a view: what never changed does not become infinite when it does."""


class Moments(nn.Module):
    """Mean and variance of each value of a view over all that was seen (Chan et al. 1983)."""

    count: Tensor
    mean: Tensor
    squares: Tensor  # summed squared deviations from the mean

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(shape, dtype=torch.float64))

    def update(self, x: Tensor) -> None:
        """Include ``x`` [N, ...]."""
        n, mean = len(x), x.mean(0).double()
        squares = x.var(0, correction=0).double() * n
        total = self.count + n
        delta = mean - self.mean
        self.squares += squares + delta.square() * (self.count * n / total)
        self.mean += delta * (n / total)
        self.count.copy_(total)


class Whitening(nn.Module):
    """Subtracts the running mean of each value of a view, divides by its standard deviation, and clips to [-5, 5].

    Before anything was seen, a batch is whitened by its own moments.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.moments = nn.ModuleDict({name: Moments(shape) for name, shape in shapes.items()})

    @torch.no_grad()
    def update(self, views: Views) -> None:
        """Include views of N observations."""
        for name, x in views.items():
            self.moments[name].update(x)  # type: ignore[operator]

    @torch.no_grad()
    def forward(self, views: Views) -> Views:
        """Whiten views of N observations."""
        found = {}
        for name, x in views.items():
            m = self.moments[name]
            assert isinstance(m, Moments)
            seen = m.count > 0
            mean = torch.where(seen, m.mean.float(), x.mean(0))
            variance = torch.where(seen, (m.squares / m.count.clamp(min=1)).float(), x.var(0, correction=0))
            found[name] = ((x - mean) / variance.sqrt().clamp(min=FLOOR[name])).clamp(-LIMIT, LIMIT)
        return found
