"""Input-change prediction (Jaderberg et al. 2017, UNREAL's baseline): predict how much each part of the image will
change, the passive counterpart of pixel control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig, image_shape
from ..reduction import average, explained_variance
from .parts.cells import CellHead, cell_change, cell_grid, newest_channels


@dataclass(frozen=True)
class ChangePredictionConfig(LossConfig):
    """Input-change prediction. The loss is a mean over cells: multiply a weight meant for their sum by the number of
    cells.
    """

    cell: Annotated[int, Meta(ge=1, le=4096)] = 4
    """Side of a cell in pixels."""
    channels: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Number of last image channels to compare. If not given: those of the newest stacked frame."""


class ChangePrediction(AuxiliaryLoss):
    """Predicts the next change of every cell from memory and action: squared error, a mean over cells. Initially it
    predicts no change. ValueError without images, or if they are too small.
    """

    Config = ChangePredictionConfig
    paper = "predicts how much each part of the image changes: UNREAL's baseline (Jaderberg et al. 2017)"

    def __init__(self, config: ChangePredictionConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        height, width, _ = image_shape(spec, "change prediction")
        self.cell, self.num_actions = config.cell, spec.num_actions
        self.channels = newest_channels(config.channels, spec)
        self.head = CellHead(sizes.memory + spec.num_actions, 1, cell_grid(height, width, config.cell))
        nn.init.zeros_(self.head.second.weight)
        assert self.head.second.bias is not None
        nn.init.zeros_(self.head.second.bias)

    def predict(self, memory: Tensor, action: Tensor) -> Tensor:
        """Predict the change of every cell: memory [..., D], action [...] int64 -> [..., h, w]."""
        x = torch.cat([memory, one_hot(action, self.num_actions).to(memory.dtype)], dim=-1)
        with self.precision(x.device):
            maps: Tensor = self.head(x.reshape(-1, x.shape[-1])).float()
        return maps.reshape(*action.shape, *maps.shape[2:])

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [T, B]."""
        change = cell_change(rollout.observation["image"], self.cell, self.channels).flatten(2)
        predicted = self.predict(features.memory[:-1], rollout.action).flatten(2)
        mask = rollout.valid.unsqueeze(-1).expand_as(change)
        self.metrics = {
            "change": average(change, mask),
            "change_explained_variance": explained_variance(predicted.detach(), change, mask),
        }
        return (predicted - change).square().mean(-1), rollout.valid
