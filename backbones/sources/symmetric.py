"""A symbol told wrongly with probability ``error``, each wrong symbol as likely as another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import entropy_of


def check_error(error: float) -> None:
    """ValueError for what is no probability."""
    if not 0 <= error <= 1:
        raise ValueError(f"a symbol is told anew or wrongly with a probability, 0 to 1, not {error}")


def disturb(x: Tensor, error: float, symbols: int, generator: torch.Generator) -> Tensor:
    """Symbols of any shape, told wrongly here and there."""
    wrong = torch.rand(x.shape, generator=generator, dtype=torch.float64) < error
    step = torch.randint(1, symbols, x.shape, generator=generator)
    return torch.where(wrong, (x + step) % symbols, x)


def told_log_prob(same: Tensor, error: float, symbols: int) -> Tensor:
    """float64 of any shape: ``log(1 - e)`` where the symbol is told rightly, ``log(e / (V - 1))`` where not."""
    right, wrong = torch.tensor([1 - error, error / (symbols - 1)], dtype=torch.float64).log()
    return torch.where(same, right, wrong)


def told_entropy(error: float, symbols: int) -> float:
    """``h(e) + e log(V - 1)``, nats a symbol."""
    return entropy_of(torch.tensor([1 - error, error], dtype=torch.float64)).item() + error * math.log(symbols - 1)
