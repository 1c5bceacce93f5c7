"""Head for events of two symbols, such as the pixels of binarised images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Head, within


class Bernoulli(Head):
    """Distribution over 0 and 1.

    A grey value between them is taken as a soft target: the result is then a cross-entropy, not a likelihood, and must
    not be compared with one.
    """

    size = 1

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.value = nn.Linear(1, width)

    def embed(self, x: Tensor) -> Tensor:
        """Map events [...] to embeddings [..., width]."""
        embedded: Tensor = self.value(2 * x.unsqueeze(-1).to(self.value.weight.dtype) - 1)
        return embedded

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return ``x log p + (1 - x) log(1 - p)``, p = sigmoid(parameter)."""
        logit = parameters.squeeze(-1)
        return -F.binary_cross_entropy_with_logits(logit, within(x, 1, whole=False).to(logit.dtype), reduction="none")

    def sample(self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample events [...] int64."""
        logit = parameters.squeeze(-1)
        if temperature == 0:
            return (logit > 0).long()
        uniform = torch.rand(logit.shape, generator=generator, device=logit.device)
        return (uniform < torch.sigmoid(logit / temperature)).long()

    def support(self) -> Tensor:
        """Return the events 0 and 1, [2]."""
        return torch.arange(2, device=self.value.weight.device)
