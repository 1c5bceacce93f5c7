"""Distances between the observations of an episode (N = T + 1 rows)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .episodes import Recalled


def squared_distances(rows: Float[Tensor, "N B D"], recalled: Recalled) -> Float[Tensor, "B N K"]:
    """Compute the squared distance of each row to each key of its environment; infinite for keys that do not precede it
    in its episode.
    """
    x = rows.transpose(0, 1)
    distance = torch.cdist(x, recalled.keys, compute_mode="donot_use_mm_for_euclid_dist").square()
    return torch.where(recalled.earlier, distance, torch.inf)


def nearest(distance: Float[Tensor, "B N K"], k: int) -> Float[Tensor, "B N k"]:
    """Return the ``k`` smallest along the last axis, in ascending order; infinite where there are fewer."""
    missing = k - distance.shape[-1]
    if missing > 0:
        distance = torch.nn.functional.pad(distance, (0, missing), value=torch.inf)
    return distance.topk(k, dim=-1, largest=False).values
