"""Checks that end a run before non-finite values are saved."""

from __future__ import annotations

import torch
from torch import nn


class NonFiniteError(RuntimeError):
    """A loss or gradient became NaN or infinite; the optimiser did not step."""


def refuse_non_finite(model: nn.Module, step: int) -> None:
    """Raise NonFiniteError if a weight is NaN or infinite, so that such weights are not saved."""
    for name, p in model.named_parameters():
        if not torch.isfinite(p).all():
            raise NonFiniteError(
                f"The weights '{name}' became non-finite by step {step:,}; the previous checkpoint stays the newest. "
                "Lower --learning-rate, or raise --epsilon."
            )
