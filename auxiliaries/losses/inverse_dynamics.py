"""Inverse dynamics: predict the action that led from one observation to the next (Pathak et al., "Curiosity-driven
exploration by self-supervised prediction", 2017). This is the inverse model of ICM, used here to shape the agent's
encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig
from ..pooling import Commonest, Metric
from ..reduction import average


@dataclass(frozen=True)
class InverseDynamicsConfig(LossConfig):
    """Inverse dynamics: predict the action between two observations."""

    hidden: Annotated[int, Meta(ge=1, le=2**20)] = 256
    """Width of the hidden layer."""


class InverseDynamics(AuxiliaryLoss):
    """``-ln p(a[t] | z[t], z[t + 1])``: the encoder retains what actions change. The memory is not used: at row t + 1
    its input includes a[t].
    """

    Config = InverseDynamicsConfig
    paper = "predicts the action between two observations (inverse model of ICM, Pathak et al. 2017)"

    def __init__(self, config: InverseDynamicsConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Linear(2 * sizes.vector, config.hidden), nn.ReLU(), nn.Linear(config.hidden, spec.num_actions)
        )

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [T, B] in nats; a row that crosses a reset is not a transition."""
        valid, z = rollout.valid, features.vector
        both = torch.where(valid.unsqueeze(-1), torch.cat([z[:-1], z[1:]], dim=-1), 0.0)
        action = torch.where(valid, rollout.action, 0)
        logits = self.layers(both)
        self.metrics = self._metrics(logits.detach(), action, valid)
        value = F.cross_entropy(logits.flatten(0, 1), action.flatten(), reduction="none")
        return value.view_as(action), valid

    def _metrics(self, logits: Tensor, action: Tensor, valid: Tensor) -> dict[str, Metric]:
        """Compute the accuracy, and the accuracy of always predicting the most common action."""
        return {
            "accuracy": average((logits.argmax(-1) == action).float(), valid),
            "chance": Commonest.of(one_hot(action, logits.shape[-1]), valid),
        }
