"""Two symbols: binarised images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Head, within


class Bernoulli(Head):
    """0 or 1. A grey value between, in [0, 1], is taken as a soft target: then the result is a cross-entropy, not a
    likelihood, and not to be compared with one.
    """

    size = 1

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.value = nn.Linear(1, width)

    def embed(self, x: Tensor) -> Tensor:
        """[...] -> [..., width]."""
        embedded: Tensor = self.value(2 * x.unsqueeze(-1).to(self.value.weight.dtype) - 1)
        return embedded

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """``x log p + (1 - x) log(1 - p)``, p = sigmoid(parameter)."""
        logit = parameters.squeeze(-1)
        return -F.binary_cross_entropy_with_logits(logit, within(x, 1, whole=False).to(logit.dtype), reduction="none")

    def sample(
        self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """[...] int64."""
        logit = parameters.squeeze(-1)
        if temperature == 0:
            return (logit > 0).long()
        uniform = torch.rand(logit.shape, generator=generator, device=logit.device)
        return (uniform < torch.sigmoid(logit / temperature)).long()

    def support(self) -> Tensor:
        """[2]."""
        return torch.arange(2, device=self.value.weight.device)
