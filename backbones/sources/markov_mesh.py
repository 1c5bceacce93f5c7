"""Images whose pixels depend on the ones to the left and above.

Abend, Harley & Kanal, "Classification of binary random patterns" (1965).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_shape
from .base import Source, dirichlet, draw, entropy_of, estimating, mean_and_error, seeded

EXACT_UP_TO = 2**14
"""Largest number of states (rows of an image) for which the entropy is computed exactly."""
ESTIMATED_FROM = 4096
"""Number of items from which the entropy is estimated where there are more states."""


class MarkovMesh(Source):
    """Images [H, W, C] whose symbols are distributed by ``table`` [C, V, V, V, V].

    The axes of the table are the channel; the same channel of the pixel to the left, and of the one above; the previous
    channel of the same pixel; and the symbol itself. Positions outside the image, or before channel 0, read 0.

    Without a ``table``, distributions are sampled from a Dirichlet distribution, by default for 1 channel of 2 symbols;
    ``channels`` and ``symbols`` default to those of a given table. ``MESH`` is a table for binary images.
    """

    def __init__(
        self,
        height: int = 8,
        width: int = 8,
        channels: int | None = None,
        symbols: int | None = None,
        concentration: float = 0.3,
        seed: int = 0,
        table: Tensor | None = None,
    ) -> None:
        own = (1, 2) if table is None else table.shape[:2]
        channels, symbols = own[0] if channels is None else channels, own[1] if symbols is None else symbols
        if table is None:
            laws = dirichlet(channels * symbols**3, symbols, concentration, seeded(seed))
            table = laws.reshape(channels, symbols, symbols, symbols, symbols)
        check_shape("this table [C, V, V, V, V]", table, channels, *[symbols] * 4)
        self.shape, self.symbols, self.table, self.seed = (height, width, channels), symbols, table.double(), seed
        self.bounds = {"uniform": height * width * channels * math.log(symbols)}
        self.exact = symbols ** (width * channels) <= EXACT_UP_TO

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample images [count, H, W, C], symbol by symbol."""
        H, W, C = self.shape
        x = torch.zeros(count, H + 1, W + 1, C + 1, dtype=torch.int64)  # a border of zeros before the image
        for i in range(1, H + 1):
            for j in range(1, W + 1):
                for c in range(1, C + 1):
                    law = self.table[c - 1, x[:, i, j - 1, c], x[:, i - 1, j, c], x[:, i, j, c - 1]]
                    x[:, i, j, c] = draw(law, generator)
        return x[:, 1:, 1:, 1:]

    def laws(self, x: Tensor) -> Tensor:
        """Return the distribution from which each symbol of items was sampled, [count, H, W, C, V]."""
        left, up, lower = F.pad(x, (0, 0, 1, -1)), F.pad(x, (0, 0, 0, 0, 1, -1)), F.pad(x, (1, -1))
        return self.table[torch.arange(self.shape[-1]), left, up, lower]

    def _log_prob(self, x: Tensor) -> Tensor:
        """Return the log-probabilities [count]: the sum over symbols of the log of the table."""
        return self.laws(x).gather(-1, x.unsqueeze(-1)).log().flatten(1).sum(-1)

    def entropy(self) -> tuple[float, float]:
        """Return the entropy, exact if the distribution of one row is small enough to be stored.

        It is otherwise estimated by the mean over items of the entropies of their symbols' distributions.
        """
        if self.exact:
            return mesh_entropy(self.table, *self.shape[:2]), 0.0
        x = self.sample(ESTIMATED_FROM, estimating(self.seed))
        return mean_and_error(entropy_of(self.laws(x)).flatten(1).sum(-1))


def mesh_entropy(table: Tensor, height: int, width: int) -> float:
    """Return ``sum E[H(symbol given left, up, lower)]``, in nats per image.

    The distribution of the last ``width * channels`` symbols, encoded as a number in base V with the latest symbol
    last, is updated along the image. The symbol above is the oldest of them and is dropped at each update.
    """
    channels, symbols = table.shape[:2]
    states = symbols ** (width * channels)
    oldest = states // symbols
    state = torch.arange(states)
    up, left, lower = state // oldest, state // symbols ** (channels - 1) % symbols, state % symbols
    nothing = torch.zeros_like(state)
    law = torch.zeros(states, dtype=torch.float64)
    law[0] = 1  # above the image all symbols are 0
    total = 0.0
    for _ in range(height):
        for j in range(width):
            for c in range(channels):
                rows = table[c, left if j else nothing, up, lower if c else nothing]  # [states, V]
                total += torch.dot(law, entropy_of(rows)).item()
                law = (law.unsqueeze(-1) * rows).reshape(symbols, oldest * symbols).sum(0)
    return total


def binary_table(one: Tensor) -> Tensor:
    """Return the table [1, 2, 2, 2, 2] of binary images of one channel, from ``p(1 given left, up)`` [2, 2]."""
    return torch.stack([1 - one, one], dim=-1).unsqueeze(2).expand(2, 2, 2, 2).unsqueeze(0)


MESH = binary_table(torch.tensor([[0.05, 0.7], [0.3, 0.95]], dtype=torch.float64))
