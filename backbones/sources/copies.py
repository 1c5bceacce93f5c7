"""Sources whose symbols copy a distant earlier one.

Models that see far enough back can reach the entropy; to others the symbols look nearly uniform.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Source
from .symmetric import check_error, disturb, told_entropy, told_log_prob


class LagCopy(Source):
    """Audio [T] in which ``x_t`` is ``x_{t - lag}`` with probability ``1 - renewal``, else a uniform symbol.

    The first ``lag`` symbols are uniform. The bound "blind" is for models that see fewer than ``lag`` symbols back (the
    receptive field of van den Oord et al., "WaveNet", 2016): these symbols carry no information about the next one.
    """

    symbols: int

    def __init__(self, symbols: int = 256, lag: int = 16, renewal: float = 0.1, length: int = 128) -> None:
        check_error(renewal)
        if lag < 1:
            raise ValueError(f"a copy is from 1 symbol back or more, not {lag}")
        if length <= lag:
            raise ValueError(f"{length} samples hold no copy {lag} back")
        self.shape, self.symbols, self.lag = (length,), symbols, lag
        self.error = renewal * (symbols - 1) / symbols  # the new symbol may be the old one
        self.bounds = {"blind": length * math.log(symbols)}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample [count, T], in blocks of ``lag`` symbols."""
        x = torch.randint(self.symbols, (count, *self.shape), generator=generator)
        for start in range(self.lag, self.shape[0], self.lag):
            told = x[:, start : start + self.lag]
            said = x[:, start - self.lag : start][:, : told.shape[1]]
            told.copy_(disturb(said, self.error, self.symbols, generator))
        return x

    def _log_prob(self, x: Tensor) -> Tensor:
        """Return the log-probabilities [count]: uniform for the first ``lag`` symbols, then noisy copies."""
        copies = told_log_prob(x[:, self.lag :] == x[:, : -self.lag], self.error, self.symbols).sum(-1)
        return copies - self.lag * math.log(self.symbols)

    def entropy(self) -> tuple[float, float]:
        """Return ``L log V + (T - L)(h(e) + e log(V - 1))``, and 0."""
        copies = self.shape[0] - self.lag
        return self.lag * math.log(self.symbols) + copies * told_entropy(self.error, self.symbols), 0.0


class ShiftCopy(Source):
    """Images [H, W, 1] whose pixel at (i, j) copies that at (i - 1, j + offset), with errors of probability ``error``.

    A pixel without an original is uniform. An offset of 2 lies in the blind spot of stacked 3x3 masked convolutions
    (van den Oord et al., "Conditional image generation with PixelCNN decoders", NIPS 2016). The bound "blind" is for
    models that do not see the original; diagonals are independent of one another.
    """

    symbols: int

    def __init__(self, height: int = 8, width: int = 8, offset: int = 2, symbols: int = 2, error: float = 0.05) -> None:
        check_error(error)
        if abs(offset) >= width:
            raise ValueError(f"an offset of {offset} leads out of an image {width} pixels wide")
        self.shape, self.symbols, self.error = (height, width, 1), symbols, error
        self.copying = slice(max(-offset, 0), width - max(offset, 0))  # columns that have an original
        self.original = slice(max(offset, 0), width - max(-offset, 0))
        self.copies = (height - 1) * (width - abs(offset))
        self.free = height * width - self.copies
        self.bounds = {"blind": height * width * math.log(symbols)}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample images [count, H, W, 1], row by row."""
        x = torch.randint(self.symbols, (count, *self.shape), generator=generator)
        for i in range(1, self.shape[0]):
            x[:, i, self.copying] = disturb(x[:, i - 1, self.original], self.error, self.symbols, generator)
        return x

    def _log_prob(self, x: Tensor) -> Tensor:
        """Return the log-probabilities [count]: noisy copies, and the other pixels uniform."""
        same = x[:, 1:, self.copying] == x[:, :-1, self.original]
        copies = told_log_prob(same, self.error, self.symbols).flatten(1).sum(-1)
        return copies - self.free * math.log(self.symbols)

    def entropy(self) -> tuple[float, float]:
        """Return ``free log V + copies (h(e) + e log(V - 1))``, and 0."""
        return self.free * math.log(self.symbols) + self.copies * told_entropy(self.error, self.symbols), 0.0
