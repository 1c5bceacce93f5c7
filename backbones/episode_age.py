"""Age of each row within its episode, by which memories that keep past rows limit how far back a row may look."""

from __future__ import annotations

import torch
from torch import Tensor


def episode_age(first: Tensor, count: Tensor) -> Tensor:
    """Return the number of earlier rows that belong to the episode of each row, [T, B] int64.

    ``first`` [T, B] bool marks first rows; ``count`` [B] int64 is the number of rows before row 0 that belong to the
    current episode.

    ``n[t] = 0 if first[t] else n[t - 1] + 1``, without a loop.
    """
    t = torch.arange(len(first), device=first.device).unsqueeze(-1)
    begun = torch.where(first, t, -1).cummax(0).values  # latest row that began an episode; -1 if none did
    return torch.where(begun >= 0, t - begun, count + t)
