"""Images of a few classes, each a template with noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Source, entropy_of, seeded
from .mixture import Mixture
from .symmetric import check_error, disturb, told_entropy, told_log_prob


class NoisyTemplate(Source):
    """Binary image [H, W, 1] with each pixel flipped with probability ``error``."""

    symbols = 2

    def __init__(self, template: Tensor, error: float) -> None:
        self.shape, self.template, self.error = tuple(template.shape), template, error
        self.bounds = {}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample images [count, H, W, 1]."""
        return disturb(self.template.expand(count, *self.shape), self.error, 2, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        """Return the log-probabilities [count], summed over pixels."""
        return told_log_prob(x == self.template, self.error, 2).flatten(1).sum(-1)

    def entropy(self) -> tuple[float, float]:
        """Return ``D h(error)`` for D pixels, and 0."""
        return self.template.numel() * told_entropy(self.error, 2), 0.0


class ClassMixture(Mixture):
    """Images [H, W, 1] of ``classes`` random templates.

    The bound "independent" is for a model of independent pixels.
    """

    def __init__(self, classes: int = 10, height: int = 8, width: int = 8, error: float = 0.05, seed: int = 0) -> None:
        check_error(error)
        if classes < 1:
            raise ValueError(f"a mixture has 1 class or more, not {classes}")
        templates = torch.randint(2, (classes, height, width, 1), generator=seeded(seed))
        super().__init__([NoisyTemplate(template, error) for template in templates], seed)
        self.templates = templates
        one = (templates * (1 - error) + (1 - templates) * error).double().mean(0)  # p(pixel is 1)
        independent = entropy_of(torch.stack([one, 1 - one], dim=-1)).sum().item()
        self.bounds = {"uniform": templates[0].numel() * math.log(2), "independent": independent}
