"""Text from a Markov chain, and the ladder of bounds for models with short contexts.

Its rungs are the conditional block entropies of Shannon, "Prediction and entropy of printed English" (1951). A model's
nats, compared with them, show how many symbols back it looks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Source, dirichlet, draw, entropy_of, seeded


class MarkovText(Source):
    """Text [T] in which a symbol depends on the ``order`` symbols before it, by a table of Dirichlet rows.

    The chain is stationary: the first ``order`` symbols are sampled from the stationary distribution of contexts, so
    that knowing the position gives a model no advantage.
    """

    symbols: int

    def __init__(
        self, symbols: int = 8, order: int = 2, concentration: float = 0.3, length: int = 64, seed: int = 0
    ) -> None:
        if length <= order:
            raise ValueError(f"a text of {length} symbols is too short for a chain of order {order}")
        self.shape, self.symbols, self.order = (length,), symbols, order
        self.table = dirichlet(symbols**order, symbols, concentration, seeded(seed))  # [contexts, symbols]
        self.start = stationary(self.table, symbols)  # [contexts]
        self.grams = (self.start.unsqueeze(-1) * self.table).reshape((symbols,) * (order + 1))
        self.bounds = ladder(self.grams, length)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample texts [count, T]."""
        x = torch.empty(count, *self.shape, dtype=torch.int64)
        context = draw(self.start.expand(count, -1), generator)
        for k in range(self.order):
            x[:, k] = context // self.symbols ** (self.order - 1 - k) % self.symbols
        for t in range(self.order, self.shape[0]):
            x[:, t] = draw(self.table[context], generator)
            context = (context * self.symbols + x[:, t]) % len(self.table)
        return x

    def _log_prob(self, x: Tensor) -> Tensor:
        """Return ``log p(x_1 .. x_k) + sum_t log p(x_t given the k symbols before it)``, [count]."""
        place = self.symbols ** torch.arange(self.order, -1, -1)
        window = (x.unfold(1, self.order + 1, 1) * place).sum(-1)  # [count, T - order]: context and symbol, one number
        first = window[:, 0] // self.symbols
        return self.start.log()[first] + self.table.log().flatten()[window].sum(-1)

    def entropy(self) -> tuple[float, float]:
        """Return the exact entropy, which is the ladder's last rung, and 0."""
        return block_bound(self.grams, self.order, self.shape[0]), 0.0


def stationary(table: Tensor, symbols: int) -> Tensor:
    """Return the stationary distribution of contexts [contexts] under ``table`` [contexts, symbols]."""
    count = len(table)
    before = torch.arange(count).unsqueeze(-1).expand(-1, symbols)
    after = (before * symbols + torch.arange(symbols)) % count  # the oldest symbol drops out
    step = torch.zeros(count, count, dtype=torch.float64).index_put_((before, after), table, accumulate=True)
    balance = step.T - torch.eye(count, dtype=torch.float64)
    balance[-1] = 1  # one balance equation is redundant; it is replaced by the condition that the sum is 1
    total = torch.zeros(count, dtype=torch.float64)
    total[-1] = 1
    law: Tensor = torch.linalg.solve(balance, total)
    return law.clamp(min=0)  # very small probabilities may come out as -1e-20


def block_entropy(grams: Tensor, size: int) -> float:
    """Return the entropy in nats of ``size`` adjacent symbols, given the distribution [V, ..., V] of as many."""
    return entropy_of(grams.reshape(grams.shape[0] ** size, -1).sum(-1)).item() if size else 0.0


def block_bound(grams: Tensor, context: int, length: int) -> float:
    """Return ``H_k + (T - k)(H_{k+1} - H_k)``: nats of T symbols of a stationary text for a model that sees k symbols
    back.

    ``H_k`` are block entropies.
    """
    block, next_block = block_entropy(grams, context), block_entropy(grams, context + 1)
    return block + (length - context) * (next_block - block)


def ladder(grams: Tensor, length: int) -> dict[str, float]:
    """Return ``block_bound`` for every context length that the distribution of blocks [V, ..., V] allows.

    The bound of uniform symbols comes first.
    """
    names = ["unigram", "bigram", *(f"order {k}" for k in range(2, grams.ndim))]
    rungs = {name: block_bound(grams, k, length) for k, name in enumerate(names[: grams.ndim])}
    return {"uniform": length * math.log(grams.shape[0]), **rungs}
