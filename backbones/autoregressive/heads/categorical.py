"""One of Q symbols: text, quantised audio, pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Head, choose, within


class Categorical(Head):
    """Symbols 0 to ``symbols - 1``, int64 (uint8 will do); a symbol re-enters as a row of a table."""

    def __init__(self, symbols: int, width: int = 32) -> None:
        super().__init__()
        self.symbols, self.size, self.width = symbols, symbols, width
        self.table = nn.Embedding(symbols, width)

    def embed(self, x: Tensor) -> Tensor:
        """[...] -> [..., width]."""
        embedded: Tensor = self.table(self._index(x))
        return embedded

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """``log softmax(parameters)[x]``."""
        return F.log_softmax(parameters, dim=-1).gather(-1, self._index(x).unsqueeze(-1)).squeeze(-1)

    def sample(
        self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """[...] int64."""
        return choose(parameters, temperature, generator)

    def support(self) -> Tensor:
        """[Q]."""
        return torch.arange(self.symbols, device=self.table.weight.device)

    def _index(self, x: Tensor) -> Tensor:
        return within(x, self.symbols - 1).long()
