"""Reward prediction: from three frames, predict the sign of the reward that follows. Jaderberg et al., "Reinforcement
learning with unsupervised auxiliary tasks" (2017), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig
from ..pooling import Commonest
from ..reduction import average
from .parts.target_network import flat, width

CLASSES = ("zero", "positive", "negative")


def reward_class(reward: Tensor) -> Tensor:
    """Return the sign of the raw reward as an index into CLASSES, int64. NaN counts as zero and has to be masked."""
    return (reward > 0).long() + 2 * (reward < 0).long()


@dataclass(frozen=True)
class RewardPredictionConfig(LossConfig):
    """Reward prediction. The paper's weight is 1 / unroll here: 0.05 at --unroll 20, as the preset unreal has it."""

    batch: Annotated[int, Meta(ge=1, le=2**20)] = 64
    """Number of three-frame windows per update."""


class RewardPrediction(AuxiliaryLoss):
    """-ln p(class of reward[2] | observation[0], [1], [2]): without memory, and without the frame that arrived with the
    reward. The head has a hidden layer of 128; in the best-known public code it is linear.
    """

    Config = RewardPredictionConfig
    paper = "predicts the sign of the reward after three frames (Jaderberg et al. 2017, UNREAL)"
    data = "transition_replay"
    length = 3
    skewed = True

    def __init__(self, config: RewardPredictionConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.batch = config.batch
        inputs = self.length * width(sizes)
        self.head = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, len(CLASSES)))

    def forward(self, rollout: Rollout, features: Features | None = None) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [N] in nats of windows (columns); the mask leaves out those that cross a reset."""
        there = rollout.valid.all(0)
        frames = {k: x[: self.length] for k, x in rollout.observation.items()}
        seen = flat(self.encoder, frames, there)  # [3, N, F]
        logits = self.head(seen.transpose(0, 1).flatten(1))
        label = reward_class(rollout.reward[-1])
        self._measure(logits, label, there)
        return F.cross_entropy(logits, label, reduction="none"), there

    def _measure(self, logits: Tensor, label: Tensor, there: Tensor) -> None:
        self.metrics = {
            "accuracy": average(logits.argmax(-1) == label, there),
            "chance": Commonest.of(one_hot(label, len(CLASSES)), there),
            "rewarding": average(label > 0, there),
        }
