"""The critic of contrastive predictive coding: one bilinear form a horizon."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..numerics import at_least_float32


def score(prediction: Tensor, z: Tensor) -> Tensor:
    """``s[k, n, m] = z[m, k, n] . prediction[k, n]`` -> [K, N, M], of predictions [K, N, E] and candidates
    [M, K, N, E], each query's own; where K or N is 1 they are the same for all. A sum over features, not a mean, at
    temperature 1; at least in float32, under autocast too.
    """
    with torch.autocast(z.device.type, enabled=False):
        return torch.einsum("kne,mkne->knm", at_least_float32(prediction), at_least_float32(z))


class ContrastiveHead(nn.Module):
    """``ln f_k(z, c) = z^T W_k c`` for each of ``horizons`` = K (van den Oord et al. 2018, equation 3).

    Linear, so that what is learnt has to be in z [E] and c [D]. Scores of features with unit variance begin with unit
    variance.
    """

    def __init__(self, context: int, target: int, horizons: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(horizons, target, context) / math.sqrt(target * context))

    def predict(self, c: Tensor, horizons: int | None = None) -> Tensor:
        """``W_k c`` [K, N, E], of contexts [N, D] or [1, N, D], or [K, N, D] where each horizon has its own. K is the
        number of ``horizons`` asked for, the first of them; None: all.
        """
        # Of a slice, even of all, the gradient is one more copy of the weights.
        weight = self.weight if horizons in (None, len(self.weight)) else self.weight[:horizons]
        return c @ weight.mT

    def forward(self, c: Tensor, z: Tensor) -> Tensor:
        """Scores [K, N, M] of every candidate z [M, E] for every context c, [N, D] or [K, N, D]."""
        return score(self.predict(c), z[:, None, None])
