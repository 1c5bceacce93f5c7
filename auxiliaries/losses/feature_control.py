"""Feature control (Jaderberg et al. 2017, UNREAL): pixel control of the agent's own units instead of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig
from ..returns import discounts
from .parts.q_learning import dueling, q_learning


@dataclass(frozen=True)
class FeatureControlConfig(LossConfig):
    """Feature control. The loss is summed over units, as in the paper."""

    gamma: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """Discount per step of future feature changes."""
    hidden: Annotated[int, Meta(ge=1, le=2**20)] = 128
    """Width of the head's hidden layer."""
    timeout_terminates: bool | None = None
    """Treat time limits as terminations. If not given: the learner's setting."""


class FeatureControl(AuxiliaryLoss):
    """A separate Q for each unit of the torso's output, whose reward is how much that unit changes. Learning is as in
    pixel control, and the value is a sum over units. The rewards are constants to the gradient, but change as the torso
    learns.
    """

    Config = FeatureControlConfig
    paper = "learns to make each unit of the torso change: UNREAL's feature control (Jaderberg et al. 2017)"
    data = "sequence_replay"

    def __init__(self, config: FeatureControlConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.gamma, self.timeout_terminates = config.gamma, config.timeout_terminates
        self.shape = (1 + spec.num_actions, sizes.vector)
        outputs = self.shape[0] * self.shape[1]
        self.head = nn.Sequential(nn.Linear(sizes.memory, config.hidden), nn.ReLU(), nn.Linear(config.hidden, outputs))

    def q(self, memory: Tensor) -> Tensor:
        """Compute Q of every action for every unit: memory [..., D] -> [..., A, E], in the precision of the head."""
        with self.precision(memory.device):
            y: Tensor = self.head(memory.reshape(-1, memory.shape[-1])).reshape(-1, *self.shape)
        q = dueling(y[:, :1], y[:, 1:])
        return q.reshape(*memory.shape[:-1], *q.shape[1:])

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [T, B]."""
        vector = features.vector.detach()
        change = (vector[1:] - vector[:-1]).abs_()
        discount = discounts(rollout, self.gamma, self.timeout_terminates)
        value, self.metrics = q_learning(self.q(features.memory), rollout.action, change, discount, rollout.valid)
        return value, rollout.valid
