"""CPC over images as grids of patches, from top to bottom (van den Oord et al. 2018, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..autoregressive.networks.masked import MaskedConv2d
from .cpc import CPC, Contrast
from .pairs import from_row_0


class GridContext(nn.Module):
    """Residual masked convolutions; a patch's context depends on it, the patches to its left and the rows above."""

    def __init__(self, target: int, size: int, layers: int = 2, kernel: int = 3) -> None:
        super().__init__()
        self.size = size
        self.first = MaskedConv2d(target, size, kernel, 1, strict=False)
        self.layers = nn.ModuleList(MaskedConv2d(size, size, kernel, 1, strict=False) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        """Map codes [B, H, W, E] to contexts [B, H, W, D]."""
        x: Tensor = self.first(z.permute(0, 3, 1, 2))
        for layer in self.layers:
            x = x + layer(F.relu(x))
        return x.permute(0, 2, 3, 1)


class GridCPC(nn.Module):
    """CPC that predicts the patch at (i + k, j) from the context at (i, j): each column of an image is a sequence."""

    def __init__(self, context: GridContext, cpc: CPC) -> None:
        super().__init__()
        self.context, self.cpc = context, cpc

    def forward(self, z: Tensor, generator: torch.Generator | None = None) -> Contrast:
        """Return the results for codes of the patches [B, H, W, E]."""
        rows, contexts = (x.transpose(0, 1).flatten(1, 2) for x in (z, self.context(z)))  # [H, B W, ...]
        contrast: Contrast = self.cpc(rows, contexts, from_row_0(rows), generator=generator)
        return contrast
