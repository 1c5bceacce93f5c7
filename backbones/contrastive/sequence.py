"""CPC over the sequences of codes that an encoder produces, from audio, text or frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..base import SequenceModel
from .cpc import CPC, Contrast
from .pairs import from_row_0


class WaveEncoder(nn.Module):
    """Convolutional encoder of audio samples [B, S] to [T, B, size], with ReLUs.

    There is one row for every 160 samples, 10 ms at 16 kHz (van den Oord et al. 2018, section 3.1). Padding makes
    T = S / 160 where 160 divides S.
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
        """Map samples [B, S] to codes [T, B, size]."""
        rows: Tensor = self.layers(x.unsqueeze(1)).permute(2, 0, 1)
        return rows


class SequenceCPC(nn.Module):
    """CPC with its own networks: ``encoder`` computes z [T, B, E], ``memory`` the contexts of z, ``cpc`` the loss."""

    def __init__(self, encoder: nn.Module, memory: SequenceModel, cpc: CPC) -> None:
        super().__init__()
        self.encoder, self.memory, self.cpc = encoder, memory, cpc

    def forward(
        self,
        x: Tensor,
        first: Tensor | None = None,
        valid: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Contrast:
        """Return the results for inputs ``x`` of the encoder.

        ``first`` and ``valid`` are [T, B] bool; None: each sequence begins at its row 0, and all rows are present. The
        values of absent rows are not used, but x must be finite there too: NaN would reach the encoder's gradients.
        """
        z = self.encoder(x)
        if valid is not None:  # else later contexts would depend on absent rows
            z = torch.where(valid.unsqueeze(-1), z, 0.0)
        first = from_row_0(z) if first is None else first
        c, _ = self.memory(z, self.memory.initial_state(z.shape[1]), first)
        contrast: Contrast = self.cpc(z, c, first, valid, generator=generator)
        return contrast
