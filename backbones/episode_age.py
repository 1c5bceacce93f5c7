"""How far back a row may look: memories that keep past rows, rather than a summary of them, reset by this."""

from __future__ import annotations

import torch
from torch import Tensor


def episode_age(first: Tensor, count: Tensor) -> Tensor:
    """``first`` [T, B] bool and ``count`` [B] int64, how many rows before row 0 belong to the episode under way
    -> [T, B] int64: how many rows before each row belong to its own episode.

    ``n[t] = 0 if first[t] else n[t - 1] + 1``, without a loop.
    """
    t = torch.arange(len(first), device=first.device).unsqueeze(-1)
    begun = torch.where(first, t, -1).cummax(0).values  # the latest row that began an episode, -1: none here
    return torch.where(begun >= 0, t - begun, count + t)
