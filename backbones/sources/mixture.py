"""One of several sources: what a label, or a topic, is worth.

``H(x) = H(x given z) + I(x; z)``, and ``I(x; z) = H(z) - E[H(z given x)]`` (Cover & Thomas, "Elements of information
theory", chapter 2). The label z is worth coding once an item; a model that does not find it pays for it everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Source, entropy_of, estimating, mean_and_error

ESTIMATED_FROM = 4096
"""So many items."""


class Mixture(Source):
    """``p(x) = (1 / K) sum_z p_z(x)``: the label z is one of K, each as likely, and x is drawn from that component."""

    def __init__(self, components: Sequence[Source], seed: int) -> None:
        if not components:
            raise ValueError("a mixture has 1 component or more")
        self.shape, self.symbols = components[0].shape, components[0].symbols
        self.components, self.seed = list(components), seed
        self.conditional_entropy = sum(c.entropy()[0] for c in components) / len(components)
        """H(x given z), nats an item; components' entropies are exact."""
        self.bounds = {}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """[count, *shape]."""
        return self.sample_labelled(count, generator)[0]

    def sample_labelled(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Items [count, *shape] and the labels they were drawn for, [count] int64."""
        label = torch.randint(len(self.components), (count,), generator=generator)
        x = torch.empty(count, *self.shape, dtype=torch.int64)
        for z, component in enumerate(self.components):
            of_z = label == z
            x[of_z] = component.sample(int(of_z.sum()), generator)
        return x, label

    def joint_log_prob(self, x: Tensor) -> Tensor:
        """``log p(x, z)``, [count, K]."""
        terms = torch.stack([component.log_prob(x) for component in self.components], dim=-1)
        return terms - math.log(len(self.components))

    def _log_prob(self, x: Tensor) -> Tensor:
        """``log sum_z p(x, z)``."""
        return self.joint_log_prob(x).logsumexp(-1)

    def information(self) -> tuple[float, float]:
        """I(x; z), nats an item, and its standard error.

        Estimated from H(z given x), which hardly varies where labels can be told, and not from log p(x), which does.
        """
        x = self.sample(ESTIMATED_FROM, estimating(self.seed))
        unknown, error = mean_and_error(entropy_of(self.joint_log_prob(x).softmax(-1)))
        return math.log(len(self.components)) - unknown, error

    def entropy(self) -> tuple[float, float]:
        """``H(x given z) + I(x; z)``."""
        information, error = self.information()
        return self.conditional_entropy + information, error
