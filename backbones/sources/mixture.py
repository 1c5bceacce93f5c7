"""Mixture of several sources, and the information in its label or topic.

``H(x) = H(x given z) + I(x; z)``, and ``I(x; z) = H(z) - E[H(z given x)]`` (Cover & Thomas, "Elements of information
theory", chapter 2). An ideal model codes the label z once per item; a model that does not infer it pays at every
symbol.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Source, entropy_of, estimating, mean_and_error

ESTIMATED_FROM = 4096
"""Number of items from which I(x; z) is estimated."""


class Mixture(Source):
    """Source ``p(x) = (1 / K) sum_z p_z(x)``: the label z is uniform over K, and x is sampled from component z."""

    def __init__(self, components: Sequence[Source], seed: int) -> None:
        if not components:
            raise ValueError("a mixture has 1 component or more")
        self.shape, self.symbols = components[0].shape, components[0].symbols
        self.components, self.seed = list(components), seed
        self.conditional_entropy = sum(c.entropy()[0] for c in components) / len(components)
        """H(x given z) in nats per item; the components' entropies are exact."""
        self.bounds = {}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample items [count, *shape]."""
        return self.sample_labelled(count, generator)[0]

    def sample_labelled(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample items [count, *shape] and their labels [count] int64."""
        label = torch.randint(len(self.components), (count,), generator=generator)
        x = torch.empty(count, *self.shape, dtype=torch.int64)
        for z, component in enumerate(self.components):
            of_z = label == z
            x[of_z] = component.sample(int(of_z.sum()), generator)
        return x, label

    def joint_log_prob(self, x: Tensor) -> Tensor:
        """Return ``log p(x, z)``, [count, K]."""
        terms = torch.stack([component.log_prob(x) for component in self.components], dim=-1)
        return terms - math.log(len(self.components))

    def _log_prob(self, x: Tensor) -> Tensor:
        """Return ``log sum_z p(x, z)``, [count]."""
        return self.joint_log_prob(x).logsumexp(-1)

    def information(self) -> tuple[float, float]:
        """Return I(x; z), in nats per item, and its standard error.

        The estimate uses H(z given x), which has little variance where labels are easy to infer, unlike log p(x).
        """
        x = self.sample(ESTIMATED_FROM, estimating(self.seed))
        unknown, error = mean_and_error(entropy_of(self.joint_log_prob(x).softmax(-1)))
        return math.log(len(self.components)) - unknown, error

    def entropy(self) -> tuple[float, float]:
        """Return ``H(x given z) + I(x; z)`` and its standard error."""
        information, error = self.information()
        return self.conditional_entropy + information, error
