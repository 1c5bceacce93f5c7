r"""An intrinsic reward of one's own: how badly the next observation is predicted from what the agent sees and does.

    morello list intrinsic --import examples/custom_bonus.py
    morello train a2c --import examples/custom_bonus.py --intrinsic.surprise.weight 0.01 \
        --env labyrinth:my_way_home_sparse
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morello.auxiliaries import INTRINSIC_REWARDS, IntrinsicConfig, IntrinsicReward, Scored
from morello.auxiliaries.reduction import average
from morello.backbones import Features, Sizes
from morello.envs.experience import Rollout, Spec


@dataclass(frozen=True)
class SurpriseConfig(IntrinsicConfig):
    """Fields become flags: this one is --intrinsic.surprise.hidden."""

    hidden: int = 64
    """Units of the hidden layer."""


class Surprise(IntrinsicReward):
    """Squared error of a prediction of the encoder's next vector, which is detached: only the prediction is trained."""

    Config = SurpriseConfig
    paper = "an example: how badly the next observation is predicted"
    over = "life"
    trains = "a forward model"

    def __init__(self, config: SurpriseConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        width = sizes.vector + spec.num_actions
        self.actions = spec.num_actions
        self.predict = nn.Sequential(nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, sizes.vector))

    def error(self, rollout: Rollout, features: Features) -> Tensor:
        """[T, B]."""
        action = F.one_hot(rollout.action, self.actions).float()
        guess = self.predict(torch.cat([features.vector[:-1], action], dim=-1))
        return (guess - features.vector[1:]).square().mean(-1)

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Judge T transitions: no gradient, nothing is changed. Weight, discount and scale are the learner's."""
        return Scored(self.error(rollout, features))

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """(value, mask) [T, B] of the reward's own loss. The metric is what predicting no change would cost."""
        change = (features.vector[1:] - features.vector[:-1]).square().mean(-1)
        self.metrics = {"change": average(change, rollout.valid)}
        return self.error(rollout, features), rollout.valid


INTRINSIC_REWARDS["surprise"] = Surprise
