"""Symmetric noise: a symbol is replaced with probability ``error`` by any other, all equally likely."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import entropy_of


def check_error(error: float) -> None:
    """Raise ValueError unless ``error`` is a probability."""
    if not 0 <= error <= 1:
        raise ValueError(f"an error or renewal is a probability, 0 to 1, not {error}")


def disturb(x: Tensor, error: float, symbols: int, generator: torch.Generator) -> Tensor:
    """Replace symbols, of any shape, with probability ``error`` by other symbols."""
    wrong = torch.rand(x.shape, generator=generator, dtype=torch.float64) < error
    step = torch.randint(1, symbols, x.shape, generator=generator)
    return torch.where(wrong, (x + step) % symbols, x)


def told_log_prob(same: Tensor, error: float, symbols: int) -> Tensor:
    """Return ``log(1 - e)`` where the symbol is unchanged, ``log(e / (V - 1))`` where not, float64 of any shape."""
    right, wrong = torch.tensor([1 - error, error / (symbols - 1)], dtype=torch.float64).log()
    return torch.where(same, right, wrong)


def told_entropy(error: float, symbols: int) -> float:
    """Return ``h(e) + e log(V - 1)``, in nats per symbol."""
    return entropy_of(torch.tensor([1 - error, error], dtype=torch.float64)).item() + error * math.log(symbols - 1)
