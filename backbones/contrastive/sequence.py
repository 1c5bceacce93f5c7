"""CPC over anything that an encoder makes a sequence of: audio, text, frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..base import SequenceModel
from .cpc import CPC, Contrast
from .pairs import from_row_0


class WaveEncoder(nn.Module):
    """Samples [B, S] -> [T, B, size]: a row for every 160, 10 ms at 16 kHz, with ReLUs (van den Oord et al. 2018,
    section 3.1). Padding makes T = S / 160 where 160 divides S.
    """

    def __init__(
        self, size: int = 512, kernels: Sequence[int] = (10, 8, 4, 4, 4), strides: Sequence[int] = (5, 4, 2, 2, 2)
    ) -> None:
        super().__init__()
        self.size, layers, inputs = size, list[nn.Module](), 1
        for kernel, stride in zip(kernels, strides, strict=True):
            layers += [nn.Conv1d(inputs, size, kernel, stride, padding=(kernel - stride + 1) // 2), nn.ReLU()]
            inputs = size
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S] -> [T, B, size]."""
        rows: Tensor = self.layers(x.unsqueeze(1)).permute(2, 0, 1)
        return rows


class SequenceCPC(nn.Module):
    """``encoder`` makes z [T, B, E] of what there is, ``memory`` the contexts of z; ``cpc`` stands between them."""

    def __init__(self, encoder: nn.Module, memory: SequenceModel, cpc: CPC) -> None:
        super().__init__()
        self.encoder, self.memory, self.cpc = encoder, memory, cpc

    def forward(
        self, x: Tensor, first: Tensor | None = None, valid: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Contrast:  # fmt: skip
        """``first`` and ``valid`` [T, B] bool; None: each sequence begins at its row 0 and is all there. What rows that
        are not there hold is not read, but x is finite there too: NaN would reach the encoder's gradients.
        """
        z = self.encoder(x)
        if valid is not None:  # or later contexts would be made of what is not there
            z = torch.where(valid.unsqueeze(-1), z, 0.0)
        first = from_row_0(z) if first is None else first
        c, _ = self.memory(z, self.memory.initial_state(z.shape[1]), first)
        contrast: Contrast = self.cpc(z, c, first, valid, generator=generator)
        return contrast
