"""CURL: match two crops of the same frame among the crops of other frames. Laskin et al., "CURL: Contrastive
unsupervised representations for reinforcement learning" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from ...backbones import Features, Sizes
from ...backbones.contrastive import ContrastiveHead, info_nce
from ...backbones.encoder import Encoder
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig, image_shape
from ..generators import Draws
from ..pooling import Mean
from ..reduction import average
from .parts.augment import random_shift, scaled
from .parts.target_network import flat, follow, frozen, width


@dataclass(frozen=True)
class CURLConfig(LossConfig):
    """CURL: contrast two crops of each frame. The paper's weight is 1."""

    batch: Annotated[int, Meta(ge=1, le=2**20)] = 128
    """Number of frames sampled per update, with replacement;
    each is contrasted with all others (512 in the paper)."""
    pad: Annotated[int, Meta(ge=0, le=4096)] | None = None
    """Maximum shift of a crop in pixels. If not given: in proportion to the paper's (8 at 84x84)."""
    momentum: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Fraction by which the key encoder moves towards the current encoder after each update
    (1 minus the momentum of MoCo)."""
    latent: Annotated[int, Meta(ge=1, le=2**20)] = 50
    """Width of the compared codes."""


class CURL(AuxiliaryLoss):
    """``-ln softmax(z_a W z_p^T)[n, n]``, nats: z_a is the query encoder's code of one crop, z_p the key encoder's code
    of another.

    The encoder needs frames of full size, so the paper's crops of a larger frame are made by padding its edges. A code
    is a linear function of the map, then normalised; W is initialised small enough for scores of unit variance, whereas
    the paper's code draws it from [0, 1]. Keys are constants: their encoder follows the query encoder.
    """

    Config = CURLConfig
    paper = "matches two crops of a frame among the crops of other frames (Laskin et al. 2020, CURL)"
    data = "transition_replay"
    length = 1
    key_encoder: Encoder

    def __init__(self, config: CURLConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        height, across, _ = image_shape(spec, "CURL")
        if config.batch < 2:
            raise ValueError(f"CURL contrasts frames with others: it needs a batch of 2 or more, not {config.batch}")
        self.pad = scaled(8, height, across) if config.pad is None else config.pad
        if self.pad >= min(height, across):
            raise ValueError(f"crops of {height}x{across} frames move by less than their size, not by {self.pad}.")
        self.batch, self.momentum = config.batch, config.momentum
        self.projection = nn.Sequential(nn.Linear(width(sizes), config.latent), nn.LayerNorm(config.latent))
        self.key_projection = frozen(self.projection)
        self.head = ContrastiveHead(config.latent, config.latent, horizons=1)
        self.draws = Draws()

    def attach(self, encoder: Encoder) -> None:
        """Store the agent's encoder, and a copy of it for the keys."""
        super().attach(encoder)
        self.key_encoder = frozen(encoder)

    def forward(self, rollout: Rollout, features: Features | None = None) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [N] in nats for the first frame of each window; windows are columns."""
        there = rollout.valid[0]
        frames = {k: x[:1] for k, x in rollout.observation.items()}
        query = self.projection(flat(self.encoder, self._crop(frames), there)).squeeze(0)  # [N, latent]
        with torch.no_grad():
            key = self.key_projection(flat(self.key_encoder, self._crop(frames), there)).squeeze(0)
        own = torch.arange(len(there), device=there.device)
        value, correct = info_nce(self.head(query, key).squeeze(0), own, there & there.unsqueeze(-1))
        count = there.sum()
        self.metrics = {"accuracy": average(correct, there), "chance": Mean.of(count > 0, count)}  # n times 1 / n
        return value, there

    def after_update(self) -> None:
        """Move the key encoder's weights towards the query encoder's."""
        follow(self.key_encoder, self.encoder, self.momentum)
        follow(self.key_projection, self.projection, self.momentum)

    def _crop(self, frames: dict[str, Tensor]) -> dict[str, Tensor]:
        """Crop each frame differently, at each call."""
        image = frames["image"].squeeze(0)
        cropped = random_shift(image, self.pad, self.draws.on(image.device))
        return {**frames, "image": cropped.unsqueeze(0)}
