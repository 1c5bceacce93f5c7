"""Which rows of a batch of sequences make pairs, and drawing some of them, in shapes that do not depend on data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def from_row_0(x: Tensor) -> Tensor:
    """``first`` [T, B] bool for rows x [T, B, ...]: each sequence begins at its row 0."""
    first = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
    first[0] = True
    return first


def usable_horizons(horizons: Sequence[int], rows: int) -> int:
    """How many of ``horizons`` (in steps) to look at in sequences of so many ``rows``: up to the last that can have a
    pair, and one at least.
    """
    return 1 + max((i for i, k in enumerate(horizons) if k < rows), default=0)


def pair_mask(first: Tensor, steps: Tensor, valid: Tensor) -> Tensor:
    """[K, T, B] bool: rows t and t + k, for each k of ``steps`` [K], are both there and of one episode.

    ``first`` [T, B] bool: an episode begins at this row, so none in t + 1 to t + k; ``valid`` [T, B] bool: the row is
    there.
    """
    T = len(first)
    later = torch.arange(T, device=first.device) + steps.unsqueeze(-1)  # [K, T]
    target = later.clamp(max=T - 1)
    episode = first.cumsum(0)
    return (later < T).unsqueeze(-1) & (episode[target] == episode) & valid[target] & valid


def rows_of(x: Tensor, index: Tensor) -> Tensor:
    """``x[index]``, [M, D] and [...] int64 -> [..., D], whose gradient is summed up in the same order every time: that
    of an index is not, where there are several threads.
    """
    return F.embedding(index, x)


def draw(allowed: Tensor, count: int | None, generator: torch.Generator | None) -> Tensor:
    """``count`` different indices into dim 0 of ``allowed`` [N, ...] bool -> [count, ...] int64, uniformly from those
    that are allowed; if these are too few, the rest are others. All of them, in order, for None or ``count >= N``.
    """
    if count is None or count >= len(allowed):
        rows = torch.arange(len(allowed), device=allowed.device)
        return rows.view(-1, *[1] * (allowed.dim() - 1)).expand_as(allowed)
    if generator is None:
        raise ValueError(f"drawing {count} of {len(allowed)} rows needs a generator")
    keys = torch.rand(allowed.shape, generator=generator, device=allowed.device)
    return torch.where(allowed, keys, -1.0).topk(count, dim=0).indices
