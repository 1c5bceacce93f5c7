"""Context tree switching over symbols (Veness et al. 2012), one model for each pixel (Bellemare et al. 2014, 2016)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from ....envs.trees import State
from .densities import Density, DensityConfig, Learnt, PixelDensity
from .hashing import mixed
from .symbols import Symbols

BITS = 9
"""Base-2 logarithm of the number of contexts of each length that a pixel tells apart."""
CHUNK = 64
"""Views whose contexts are looked up at a time."""


class Tables(NamedTuple):
    """What the nodes of all pixels' trees have counted; K numbers per node in ``counts``."""

    counts: Int[Tensor, " nodes*K"]  # how often each symbol was seen in this context
    visits: Int[Tensor, " nodes"]  # how often the context was seen
    stay: Float[Tensor, " nodes"]  # weight of the node's own estimate against those of longer contexts


def contexts(symbols: UInt8[Tensor, "N h w c"]) -> list[Tensor]:
    """Return what a symbol's context is made of, most important first, int64 [N, h, w, c] each: where a cell has
    several symbols the one before it, then the neighbours to the left, above, above left and above right. What is
    outside counts as 0: a pixel has a model of its own, so that 0 is no ambiguity.
    """
    x = symbols.long()
    padded = F.pad(x, (0, 0, 1, 1, 1, 0))  # one column on both sides, one row above
    within = [F.pad(x, (1, 0))[..., :-1]] if x.shape[-1] > 1 else []
    return [*within, padded[:, 1:, :-2], padded[:, :-1, 1:-1], padded[:, :-1, :-2], padded[:, :-1, 2:]]


def switched(estimate: Float[Tensor, "K ..."], stay: Float[Tensor, "D ..."]) -> Float[Tensor, "K ..."]:
    """Mix the estimates of contexts of lengths 0 to D: ``xi[D] = rho[D]``, and below it
    ``xi[d] = stay[d] rho[d] + (1 - stay[d]) xi[d + 1]``. The mixture of the whole tree is xi[0].
    """
    found = [estimate[-1]]
    for own, weight in zip(reversed(estimate[:-1].unbind()), reversed(stay.unbind()), strict=True):
        found.append(torch.lerp(found[-1], own, weight))
    return torch.stack(found[::-1])


def restayed(
    stay: Float[Tensor, "D ..."], estimate: Float[Tensor, "D ..."], mixture: Float[Tensor, "D ..."], visits: Tensor
) -> Float[Tensor, "D ..."]:
    """Return the weights after a symbol: the posterior, of which a share 1 / (visits + 1) then switches sides (Veness
    et al. 2012, algorithm 1). ``visits`` include this one.
    """
    alpha = 1 / (visits + 1)
    return alpha + (1 - 2 * alpha) * stay * estimate / mixture


class Switching(Density):
    """Context tree switching: a mixture over how many of a pixel's earlier neighbours matter, for each pixel anew.

    Nodes estimate ``(n[x] + prior) / (n + K prior)``; ``prior`` is 1 / K if not given. Their contexts are exact as far
    as they fit 2^``bits`` places, and hashed beyond. Views are learnt strictly one after the other, all pixels at once.
    """

    counts: Tensor
    visits: Tensor
    stay: Tensor

    def __init__(self, shape: tuple[int, int, int], number: int, prior: float | None = None, bits: int = BITS) -> None:
        super().__init__()
        self.number, self.prior = number, prior or 1 / number
        self.pixels = int(torch.Size(shape).numel())
        self.depth = len(contexts(torch.zeros(1, *shape, dtype=torch.uint8)))
        self.sizes = [min(number**d, 2**bits) for d in range(self.depth + 1)]
        nodes = self.pixels * sum(self.sizes)
        self.register_buffer("counts", torch.zeros(nodes * number, dtype=torch.int32))
        self.register_buffer("visits", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("stay", torch.full((nodes,), 0.5))

    def tables(self) -> Tables:
        """Return what was committed."""
        return Tables(self.counts, self.visits, self.stay)

    def nodes(self, symbols: UInt8[Tensor, "N h w c"]) -> Int[Tensor, "N K L"]:
        """Return the node of each pixel's context of each length."""
        key = torch.zeros_like(symbols, dtype=torch.int64)
        found, begin = [key], 1
        for size, symbol in zip(self.sizes[1:], contexts(symbols), strict=True):
            key = key * self.number + symbol
            exact = size == self.number ** len(found)
            found.append(begin + (key if exact else mixed(key) & (size - 1)))
            begin += size
        base = torch.arange(self.pixels, device=key.device) * begin
        return torch.stack(found, 1).flatten(2) + base

    def estimates(self, count: Tensor, visits: Tensor, more: int = 0) -> Tensor:
        """Return the probability of a symbol seen ``count`` times in ``visits``, and ``more`` times again."""
        return (count.double() + (self.prior + more)) / (visits.double() + (self.number * self.prior + more))

    @torch.no_grad()
    def log_prob(self, symbols: Tensor, state: State = None) -> Tensor:
        """Return log-probabilities [N] under one set of tables."""
        tables, found = self.tables() if state is None else Tables(*state), []
        for some in torch.split(symbols, CHUNK):
            nodes = self.nodes(some).transpose(0, 1)  # [D + 1, N, L]
            count = tables.counts[nodes * self.number + some.flatten(1).long()]
            mixture = switched(self.estimates(count, tables.visits[nodes]), tables.stay[nodes[:-1]].double())
            found.append(mixture[0].log().sum(-1))
        return torch.cat(found)

    @torch.no_grad()
    def learn(self, symbols: Tensor, valid: Tensor) -> Learnt:
        """Learn N views one by one, on a copy of the tables."""
        tables = Tables(*(x.clone() for x in self.tables()))
        before, after = [], []
        for some, there in zip(torch.split(symbols, CHUNK), torch.split(valid, CHUNK), strict=True):
            nodes = self.nodes(some).flatten(1)
            places = nodes * self.number + some.flatten(1).long().repeat(1, self.depth + 1)
            for node, place, counts in zip(nodes, places, there, strict=True):
                first, then = self._learn(tables, node, place, counts)
                before.append(first)
                after.append(then)
        return Learnt(torch.stack(before).log().sum(-1), torch.stack(after).log().sum(-1), tables)

    def _learn(self, tables: Tables, node: Tensor, place: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Learn one view, in place, if it is ``there``: return each pixel's probability before and after, [L] each.
        ``node`` and ``place`` [(D + 1) L] are where its contexts are, and its symbols in them; no two are the same.
        """
        inner = node[: -self.pixels]
        count, visits = tables.counts[place], tables.visits[node]
        old = tables.stay[inner]
        estimate = self.estimates(count, visits).view(-1, self.pixels)
        stay = old.double().view(-1, self.pixels)
        mixture = switched(estimate, stay)
        then = visits + 1
        new = restayed(stay, estimate[:-1], mixture[:-1], then.view(-1, self.pixels)[:-1])
        improved = switched(self.estimates(count, visits, 1).view(-1, self.pixels), new)
        tables.counts.index_copy_(0, place, count + there)
        tables.visits.index_copy_(0, node, visits + there)
        tables.stay.index_copy_(0, inner, torch.where(there, new.float().flatten(), old))
        return mixture[0], improved[0]

    @torch.no_grad()
    def commit(self, state: State) -> None:
        """Keep the tables."""
        for mine, new in zip(self.tables(), state, strict=True):
            mine.copy_(new)


def density_of(config: DensityConfig, symbols: Symbols) -> Density:
    """Build the density that the settings name."""
    if config.density == "cts":
        return Switching(symbols.shape, symbols.number)
    return PixelDensity(symbols, config.chunk, config.learning_rate)
