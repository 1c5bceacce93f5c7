"""Observation whitening of RND (Burda et al. 2018, section 2.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....backbones.rectified import folded
from .view import FOLD, Views

LIMIT = 5.0
"""Whitened values are clipped to plus and minus this."""
FLOOR = {"image": 1.0, "vector": 1e-3}
"""Least standard deviation, in the units of a view: what never changed does not become infinite when it does."""


MOST = 512
"""Greatest number of views of a rollout from which statistics are taken."""
STRIDE = 7919
"""Distance of these views, modulo their number: a prime, so that all environments are among them."""


def some(x: Tensor) -> Tensor:
    """Return rows of ``x`` [N, ...], 512 of them at most."""
    n = len(x)
    return x if n <= MOST else x[torch.arange(MOST, device=x.device) * STRIDE % n]


def flat(x: Tensor) -> Tensor:
    """View [N, C, h, w] or [N, V] as [N, D], in the order in which images lie in memory, channels last."""
    return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x.flatten(1)


class Moments(nn.Module):
    """Mean and variance of each of D values over all that was seen (Chan et al. 1983)."""

    count: Tensor
    mean: Tensor
    squares: Tensor  # summed squared deviations from the mean

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))

    def update(self, x: Tensor) -> None:
        """Include ``x`` [N, D]."""
        n, mean, variance = len(x), *_moments(x)
        total = self.count + n
        delta = mean.double() - self.mean
        self.squares += variance.double() * n + delta.square() * (self.count * n / total)
        self.mean += delta * (n / total)
        self.count.copy_(total)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance [D] of ``x`` [N, D], from sums of distances to its first row."""
    origin = x[0]
    distance = x - origin
    mean = distance.mean(0)
    variance = distance.square_().mean(0) - mean.square()
    return origin + mean, variance.clamp(min=0)


class Whitening(nn.Module):
    """Subtracts the running mean of each value of a view, divides by its standard deviation, and clips to [-5, 5].

    Before anything was seen, a batch is whitened by its own moments.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self.moments = nn.ModuleDict({name: Moments(math.prod(shape)) for name, shape in shapes.items()})

    @property
    def begun(self) -> bool:
        """Return whether some views were seen, so that a batch can be whitened in pieces. False on other devices than a
        CPU, where asking would make the host wait.
        """
        return all(m.count.device.type == "cpu" and bool(m.count) for m in self.moments.values())

    @torch.no_grad()
    def update(self, views: Views) -> None:
        """Include views of N observations, or 512 of them."""
        for name, x in views.items():
            self.moments[name].update(flat(some(x)))  # type: ignore[operator]

    @torch.no_grad()
    def forward(self, views: Views) -> Views:
        """Whiten views of N observations; images may be folded."""
        found = {}
        for name, x in views.items():
            m = self.moments[name]
            assert isinstance(m, Moments)
            rows = flat(x)
            mean, variance = m.mean.float(), (m.squares / m.count.clamp(min=1)).float()
            if x.shape[1:] != self.shapes[name]:
                mean, variance = (self._folded(name, y) for y in (mean, variance))
            if x.device.type != "cpu" or not m.count:  # asking any other device would make the host wait
                own = _moments(some(rows))
                mean, variance = (torch.where(m.count > 0, *two) for two in zip((mean, variance), own, strict=True))
            scale = variance.sqrt().clamp(min=FLOOR[name]).reciprocal()
            white = (rows - mean).mul_(scale).clamp_(-LIMIT, LIMIT)
            if x.dim() == 4:
                white = white.view(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
            found[name] = white
        return found

    def _folded(self, name: str, values: Tensor) -> Tensor:
        """Return ``values`` [D], one for each pixel and channel, in the order of folded views."""
        channels, height, width = self.shapes[name]
        image = values.view(1, height, width, channels).permute(0, 3, 1, 2)
        return flat(folded(image[:, :, : height // FOLD * FOLD, : width // FOLD * FOLD], FOLD, FOLD))[0]
