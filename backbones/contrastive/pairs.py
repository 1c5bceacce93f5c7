"""Pairs of rows in a batch of sequences, and random draws of rows, with shapes that do not depend on data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def from_row_0(x: Tensor) -> Tensor:
    """Return ``first`` [T, B] bool for rows x [T, B, ...] where each sequence begins at its row 0."""
    first = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
    first[0] = True
    return first


def usable_horizons(horizons: Sequence[int], rows: int) -> int:
    """Return how many of ``horizons`` (in steps) are usable in sequences of ``rows`` rows.

    This counts up to the last horizon that can have a pair, and is at least 1.
    """
    return 1 + max((i for i, k in enumerate(horizons) if k < rows), default=0)


def pair_mask(first: Tensor, steps: Tensor, valid: Tensor) -> Tensor:
    """Return which rows t and t + k, for each k of ``steps`` [K], are present and of one episode, [K, T, B] bool.

    ``first`` [T, B] bool marks rows at which an episode begins, of which there must be none in t + 1 to t + k;
    ``valid`` [T, B] bool marks rows that are present.
    """
    T = len(first)
    later = torch.arange(T, device=first.device) + steps.unsqueeze(-1)  # [K, T]
    target = later.clamp(max=T - 1)
    episode = first.cumsum(0)
    return (later < T).unsqueeze(-1) & (episode[target] == episode) & valid[target] & valid


def rows_of(x: Tensor, index: Tensor) -> Tensor:
    """Return ``x[index]``, [..., D], for x [M, D] and index [...] int64, with a deterministic gradient.

    The gradient of plain indexing is summed in varying order where there are several threads.
    """
    return F.embedding(index, x)


def draw(allowed: Tensor, count: int | None, generator: torch.Generator | None) -> Tensor:
    """Draw ``count`` distinct indices into dim 0 of ``allowed`` [N, ...] bool, [count, ...] int64.

    They are uniform over the allowed ones; if these are too few, the rest are indices that are not allowed. For None or
    ``count >= N``, all indices are returned in order.
    """
    if count is None or count >= len(allowed):
        rows = torch.arange(len(allowed), device=allowed.device)
        return rows.view(-1, *[1] * (allowed.dim() - 1)).expand_as(allowed)
    if generator is None:
        raise ValueError(f"drawing {count} of {len(allowed)} rows needs a generator")
    keys = torch.rand(allowed.shape, generator=generator, device=allowed.device)
    return torch.where(allowed, keys, -1.0).topk(count, dim=0).indices
