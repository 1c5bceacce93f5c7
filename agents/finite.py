"""What is not finite ends a run before it is kept."""

from __future__ import annotations

import torch
from torch import nn


class NonFiniteError(RuntimeError):
    """A loss or gradient became NaN or infinite; the optimiser did not step."""


def refuse_non_finite(model: nn.Module, step: int) -> None:
    """NonFiniteError for weights that are not to be kept."""
    for name, p in model.named_parameters():
        if not torch.isfinite(p).all():
            raise NonFiniteError(
                f"The weights '{name}' became non-finite by step {step:,}; the checkpoint before stays the newest. "
                "Lower --learning-rate, or raise --epsilon."
            )
