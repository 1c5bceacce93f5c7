"""Pixel control (Jaderberg et al. 2017, "Reinforcement learning with unsupervised auxiliary tasks", UNREAL): learn
which actions would change each part of the image most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig, image_shape
from ..returns import discounts
from .parts.cells import CellHead, cell_change, cell_grid, newest_channels
from .parts.q_learning import dueling, q_learning


@dataclass(frozen=True)
class PixelControlConfig(LossConfig):
    """Pixel control. The loss is summed over cells, as in the paper, which uses weights of 0.01 to 0.1."""

    gamma: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """Discount per step of future pixel changes."""
    cell: Annotated[int, Meta(ge=1, le=4096)] = 4
    """Side of a cell in pixels."""
    channels: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Number of last image channels to compare. If not given: those of the newest stacked frame."""
    timeout_terminates: bool | None = None
    """Treat time limits as terminations. If not given: the learner's setting."""


class DuelingMaps(nn.ConvTranspose2d):
    """Converts maps to the Q of each action, ``actions`` channels, through V and the A of each action, ``1 + actions``
    channels. Both steps are linear, so the weights are combined instead of the maps: they are smaller.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Compute Q maps: [N, channels, h, w] -> [N, actions, H, W]."""
        assert self.bias is not None
        weight, bias = (dueling(w[:, :1], w[:, 1:]) for w in (self.weight, self.bias.unsqueeze(0)))
        return F.conv_transpose2d(x, weight, bias.squeeze(0), self.stride)


class PixelControl(AuxiliaryLoss):
    """A separate Q for each cell of the image, whose reward is how much that cell changes: n-step Q-learning to the end
    of the unroll, bootstrapped with the largest Q. No target network; the behaviour policy is not corrected for.

    The value is a sum over cells, so that its weight has the same meaning for any frame size. ValueError without
    images, or if they are too small.
    """

    Config = PixelControlConfig
    paper = "learns to make each part of the image change: UNREAL's pixel control (Jaderberg et al. 2017)"
    data = "sequence_replay"

    def __init__(self, config: PixelControlConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        height, width, _ = image_shape(spec, "pixel control")
        self.gamma, self.cell, self.timeout_terminates = config.gamma, config.cell, config.timeout_terminates
        self.channels = newest_channels(config.channels, spec)
        self.head = CellHead(sizes.memory, 1 + spec.num_actions, cell_grid(height, width, config.cell), DuelingMaps)

    def q(self, memory: Tensor) -> Tensor:
        """Compute Q of every action for every cell: memory [..., D] -> [..., A, h, w], in the precision of the head."""
        with self.precision(memory.device):
            q: Tensor = self.head(memory.reshape(-1, memory.shape[-1]))
        return q.reshape(*memory.shape[:-1], *q.shape[1:])

    def heat(self, features: Features) -> Tensor:
        """Return [h, w], how much each cell can be made to change: the largest Q of any action."""
        return self.q(features.memory[-1, 0]).amax(0).float()

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [T, B]."""
        change = cell_change(rollout.observation["image"], self.cell, self.channels).flatten(2)
        q = self.q(features.memory).flatten(3)
        discount = discounts(rollout, self.gamma, self.timeout_terminates)
        value, self.metrics = q_learning(q, rollout.action, change, discount, rollout.valid)
        return value, rollout.valid
