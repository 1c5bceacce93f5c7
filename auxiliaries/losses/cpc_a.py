"""Action-conditional contrastive predictive coding (Guo et al., "Neural predictive belief representations", 2018).
Sizes, horizons, the share of rows and the single classifier for all horizons follow public ports, not the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.contrastive import ActionContext, draw, next_actions, pair_mask, rows_of, usable_horizons
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig
from ..generators import Draws
from ..pooling import Metric
from ..reduction import average


@dataclass(frozen=True)
class CPCAConfig(LossConfig):
    """Action-conditional contrastive predictive coding. Public ports use a weight of 0.05."""

    horizons: tuple[Annotated[int, Meta(ge=1, le=4096)], ...] = (1, 2, 4, 8, 16)
    """Numbers of steps ahead to predict; those longer than the unroll are left out."""
    share: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """Fraction of a rollout's rows from which to predict; the cost is proportional."""
    embedding: Annotated[int, Meta(ge=1, le=2**20)] = 4
    """Width of the action embedding."""
    hidden: Annotated[int, Meta(ge=1, le=2**20)] = 32
    """Width of the classifier's hidden layer."""


def binary_contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """Compute ``-ln sigma(positive) - ln(1 - sigma(negative))`` of two scores, in nats: 2 ln 2 for uninformative
    scores.
    """
    return F.softplus(-positive) + F.softplus(negative)


class CPCA(AuxiliaryLoss):
    """A GRU starts from the memory c[t] and receives the actions a[t] .. a[t + k - 1]; a classifier distinguishes z[t +
    k] from a random row of the rollout, drawn for each query and horizon.
    """

    Config = CPCAConfig
    paper = "predicts whether an observation comes k steps later, given the actions until then (CPC|A, Guo et al. 2018)"
    steps: Tensor

    def __init__(self, config: CPCAConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        if not config.horizons or min(config.horizons) < 1:
            raise ValueError(f"CPC|A predicts 1 step ahead or more, not {list(config.horizons)}.")
        if not 0 < config.share <= 1:
            raise ValueError(f"CPC|A predicts from a share of rows, above 0 and up to 1, not {config.share}.")
        self.horizons, self.share = tuple(sorted(config.horizons)), config.share
        self.length = self.horizons[0]
        self.register_buffer("steps", torch.tensor(self.horizons), persistent=False)
        self.actions = ActionContext(sizes.memory, spec.num_actions, config.embedding)
        # The classifier's first layer, one half per input: z is multiplied once per row, not once per pair.
        self.of_query = nn.Linear(sizes.memory, config.hidden)
        self.of_target = nn.Linear(sizes.vector, config.hidden, bias=False)
        self.output = nn.Linear(config.hidden, 1)
        self.draws = Draws()

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [K, N] in nats, by horizon that fits the unroll and by query."""
        rows, B = rollout.first.shape
        K, generator = usable_horizons(self.horizons, rows), self.draws.on(rollout.first.device)
        steps = self.steps[:K]
        pairs = pair_mask(rollout.first, steps, torch.ones_like(rollout.first)).flatten(1)
        begins = pairs.any(0)
        query = draw(begins, max(1, round(self.share * (rows - 1) * B)), generator)  # [N]
        target = (query + B * steps.unsqueeze(-1)).clamp(max=rows * B - 1)  # [K, N]
        other = torch.randint(rows * B, target.shape, generator=generator, device=target.device)

        c = torch.where(begins.unsqueeze(-1), features.memory.flatten(0, 1), 0.0)  # row t B + b
        # An action that was ignored, since its row crosses a reset, must not be read.
        done = next_actions(torch.where(rollout.valid, rollout.action, 0), query, self.horizons[K - 1])
        asked = self.of_query(self.actions(rows_of(c, query), done)[steps - 1])
        offered = self.of_target(features.vector.flatten(0, 1))
        positive, negative = (self.output(F.relu(asked + rows_of(offered, i))).squeeze(-1) for i in (target, other))
        value, mask = binary_contrast(positive, negative), pairs[:, query]
        self.metrics = self._metrics(value.detach(), mask, ((positive > 0).float() + (negative < 0)) / 2)
        return value, mask

    def _metrics(self, value: Tensor, mask: Tensor, correct: Tensor) -> dict[str, Metric]:
        """Compute means over the pairs, overall and by horizon."""
        return {
            "accuracy": average(correct, mask),
            "chance": value.new_full((), 0.5),
            **{f"loss_by_horizon/{k}": average(*row) for k, *row in zip(self.horizons, value, mask, strict=False)},
        }
