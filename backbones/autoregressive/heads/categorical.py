"""Head for events of one of Q symbols: text, quantised audio, pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Head, choose, within


class Categorical(Head):
    """Distribution over symbols 0 to ``symbols - 1`` (int64 or uint8), which are embedded by a table."""

    def __init__(self, symbols: int, width: int = 32) -> None:
        super().__init__()
        self.symbols, self.size, self.width = symbols, symbols, width
        self.table = nn.Embedding(symbols, width)

    def embed(self, x: Tensor) -> Tensor:
        """Map events [...] to embeddings [..., width]."""
        embedded: Tensor = self.table(self._index(x))
        return embedded

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return ``log softmax(parameters)[x]``."""
        return F.log_softmax(parameters, dim=-1).gather(-1, self._index(x).unsqueeze(-1)).squeeze(-1)

    def sample(self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample events [...] int64."""
        return choose(parameters, temperature, generator)

    def support(self) -> Tensor:
        """Return all symbols [Q]."""
        return torch.arange(self.symbols, device=self.table.weight.device)

    def _index(self, x: Tensor) -> Tensor:
        return within(x, self.symbols - 1).long()
