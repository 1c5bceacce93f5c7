"""Memories of what was seen in the current episode, for all environments and N = T + 1 rows of a rollout at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

CPU_PAIRS, PAIRS = 2**20, 2**27
"""Pairs of a row and a key that are compared at a time, which bounds the memory it takes; on a CPU they fit its
caches."""


class Episode(NamedTuple):
    """The newest M observations of each environment's episode, the last one at the end."""

    entries: Tensor  # [B, M, ...]
    length: Int[Tensor, " B"]  # how many of them there are


class Recalled(NamedTuple):
    """What each row of a rollout can be compared with."""

    keys: Tensor  # [B, M + T + 1, ...]: what was remembered before the rollout, then its rows
    earlier: Bool[Tensor, "B N K"]  # whether a key precedes a row in its episode


def empty(batch: int, size: int, like: Tensor, shape: tuple[int, ...] = ()) -> Episode:
    """Return memories of nothing, for ``size`` entries of ``shape``, on the device and of the dtype of ``like``."""
    return Episode(like.new_zeros(batch, size, *shape), like.new_zeros(batch, dtype=torch.int64))


def episode_of(first: Bool[Tensor, "N B"]) -> Int[Tensor, "N B"]:
    """Return the number of each row's episode in the rollout: 0 for the one that began before row 0."""
    return first.long().cumsum(0)


def _begins(memory: Episode, first: Tensor) -> Tensor:
    """Return whether row 0 is not in memory yet [B]: it begins an episode, or everything was forgotten."""
    return first[0] | (memory.length == 0)


def recall(memory: Episode, rows: Tensor, first: Bool[Tensor, "N B"]) -> Recalled:
    """Return what precedes each row of ``rows`` [T + 1, B, ...] in its episode: at most M rows, itself included.

    Row 0 is in ``memory`` already, with the rollout before, unless it begins an episode or the memory is empty.
    """
    size, count = memory.entries.shape[1], len(rows)
    number = episode_of(first).T  # [B, T + 1]
    index = torch.arange(count, device=rows.device)
    begins = _begins(memory, first).unsqueeze(-1)
    taken = begins | (index > 0)  # [B, T + 1], rows that are keys of their own
    age = index.unsqueeze(-1) - index  # of a row's key when another row comes, [T + 1, T + 1]
    within = (number.unsqueeze(-1) == number.unsqueeze(-2)) & (age > 0) & (age < size) & taken.unsqueeze(-2)
    place = torch.arange(size, device=rows.device)
    filled = place >= size - memory.length.unsqueeze(-1)  # [B, M]
    # Each row replaces the oldest entry: what a row recalls does not depend on where the rollout was cut.
    before = (number == 0).unsqueeze(-1) & filled.unsqueeze(-2) & (place >= index.unsqueeze(-1))
    # Row 0 is not earlier than itself.
    known = ~begins.unsqueeze(-1) & (index == 0).unsqueeze(-1) & (place == size - 1)
    before = before & ~known
    return Recalled(torch.cat([memory.entries, rows.transpose(0, 1)], 1), torch.cat([before, within], -1))


def compared(
    compare: Callable[[Tensor, Recalled], Tensor], memory: Episode, rows: Tensor, first: Bool[Tensor, "N B"]
) -> Tensor:
    """Return ``compare(rows, recall(memory, rows, first))`` [T + 1, B, ...], for as many environments at a time as make
    few enough pairs.
    """
    limit = CPU_PAIRS if rows.device.type == "cpu" else PAIRS
    stride = max(1, limit // (len(rows) * (memory.entries.shape[1] + len(rows))))
    pieces = -(-rows.shape[1] // stride)
    held = zip(memory.entries.tensor_split(pieces), memory.length.tensor_split(pieces), strict=True)
    come = zip(rows.tensor_split(pieces, 1), first.tensor_split(pieces, 1), strict=True)
    found = [compare(x, recall(Episode(*kept), x, begins)) for kept, (x, begins) in zip(held, come, strict=True)]
    return torch.cat(found, 1) if len(found) > 1 else found[0]


def remember(memory: Episode, rows: Tensor, first: Bool[Tensor, "N B"]) -> Episode:
    """Return the memory after the rollout: the newest entries of the episode of the last row, that row included."""
    size, count = memory.entries.shape[1], len(rows)
    number = episode_of(first).T
    same = number == number[:, -1:]
    same = same & (_begins(memory, first).unsqueeze(-1) | (torch.arange(count, device=rows.device) > 0))
    filled = torch.arange(size, device=rows.device) >= size - memory.length.unsqueeze(-1)
    kept = torch.cat([filled & (number[:, -1:] == 0), same], 1)  # [B, M + T + 1]
    newest = kept.byte().argsort(dim=1, stable=True)[:, -size:]
    keys = torch.cat([memory.entries, rows.transpose(0, 1)], 1)
    entries = keys.gather(1, newest.view(*newest.shape, *[1] * (keys.dim() - 2)).expand(-1, -1, *keys.shape[2:]))
    return Episode(entries, kept.sum(1).clamp(max=size))
