"""Symbols that repeat one far back: the entropy for models that see so far, near uniform for those that do not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Source
from .symmetric import check_error, disturb, told_entropy, told_log_prob


class LagCopy(Source):
    """Audio [T]: ``x_t`` is ``x_{t - lag}`` with probability ``1 - renewal``, else any symbol. The first ``lag``
    are uniform.

    Whoever sees fewer than ``lag`` symbols back (van den Oord et al., "WaveNet", 2016: the receptive field) sees only
    symbols that tell nothing of the next, and is "blind".
    """

    symbols: int

    def __init__(self, symbols: int = 256, lag: int = 16, renewal: float = 0.1, length: int = 128) -> None:
        check_error(renewal)
        if lag < 1:
            raise ValueError(f"a copy is of 1 symbol back or more, not {lag}")
        if length <= lag:
            raise ValueError(f"{length} samples hold no copy {lag} back")
        self.shape, self.symbols, self.lag = (length,), symbols, lag
        self.error = renewal * (symbols - 1) / symbols  # the new symbol may be the old one
        self.bounds = {"blind": length * math.log(symbols)}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """[count, T], a stretch of ``lag`` after the other."""
        x = torch.randint(self.symbols, (count, *self.shape), generator=generator)
        for start in range(self.lag, self.shape[0], self.lag):
            told = x[:, start : start + self.lag]
            said = x[:, start - self.lag : start][:, : told.shape[1]]
            told.copy_(disturb(said, self.error, self.symbols, generator))
        return x

    def _log_prob(self, x: Tensor) -> Tensor:
        """Uniform for the first ``lag``, then the noisy copy."""
        copies = told_log_prob(x[:, self.lag :] == x[:, : -self.lag], self.error, self.symbols).sum(-1)
        return copies - self.lag * math.log(self.symbols)

    def entropy(self) -> tuple[float, float]:
        """``L log V + (T - L)(h(e) + e log(V - 1))``."""
        copies = self.shape[0] - self.lag
        return self.lag * math.log(self.symbols) + copies * told_entropy(self.error, self.symbols), 0.0


class ShiftCopy(Source):
    """Images [H, W, 1]: the pixel at (i, j) is the one at (i - 1, j + offset), wrong with probability ``error``; it is
    uniform where there is none.

    An offset of 2 lies in the blind spot of stacked 3x3 masked convolutions (van den Oord et al., "Conditional image
    generation with PixelCNN decoders", NIPS 2016). Who cannot see there is "blind": diagonals are independent of one
    another.
    """

    symbols: int

    def __init__(
        self, height: int = 8, width: int = 8, offset: int = 2, symbols: int = 2, error: float = 0.05
    ) -> None:
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
        """[count, H, W, 1], row by row."""
        x = torch.randint(self.symbols, (count, *self.shape), generator=generator)
        for i in range(1, self.shape[0]):
            x[:, i, self.copying] = disturb(x[:, i - 1, self.original], self.error, self.symbols, generator)
        return x

    def _log_prob(self, x: Tensor) -> Tensor:
        """The noisy copies, and the uniform rest."""
        same = x[:, 1:, self.copying] == x[:, :-1, self.original]
        copies = told_log_prob(same, self.error, self.symbols).flatten(1).sum(-1)
        return copies - self.free * math.log(self.symbols)

    def entropy(self) -> tuple[float, float]:
        """``free log V + copies (h(e) + e log(V - 1))``."""
        return self.free * math.log(self.symbols) + self.copies * told_entropy(self.error, self.symbols), 0.0
