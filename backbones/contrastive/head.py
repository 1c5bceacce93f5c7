"""Critic of contrastive predictive coding: one bilinear form per horizon."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..numerics import at_least_float32


def score(prediction: Tensor, z: Tensor) -> Tensor:
    """Return ``s[k, n, m] = z[m, k, n] . prediction[k, n]``, [K, N, M].

    Predictions are [K, N, E], candidates [M, K, N, E]; where K or N is 1 they are shared. Scores are sums over
    features, not means, at temperature 1, and are computed in at least float32, even under autocast.
    """
    with torch.autocast(z.device.type, enabled=False):
        return torch.einsum("kne,mkne->knm", at_least_float32(prediction), at_least_float32(z))


class ContrastiveHead(nn.Module):
    """Bilinear critic ``ln f_k(z, c) = z^T W_k c`` for each of ``horizons`` = K (van den Oord et al. 2018, equation 3).

    It is linear so that the representation is learnt in z [E] and c [D]. Scores of features with unit variance have
    unit variance at initialisation.
    """

    def __init__(self, context: int, target: int, horizons: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(horizons, target, context) / math.sqrt(target * context))

    def predict(self, c: Tensor, horizons: int | None = None) -> Tensor:
        """Return ``W_k c`` [K, N, E], for contexts [N, D] or [1, N, D], or [K, N, D] where each horizon has its own.

        K is the number of ``horizons`` to predict, in order; None: all.
        """
        # The gradient of a slice, even of a full one, is an additional copy of the weights.
        weight = self.weight if horizons in (None, len(self.weight)) else self.weight[:horizons]
        return c @ weight.mT

    def forward(self, c: Tensor, z: Tensor) -> Tensor:
        """Return the scores [K, N, M] of every candidate z [M, E] for every context c, [N, D] or [K, N, D]."""
        return score(self.predict(c), z[:, None, None])
