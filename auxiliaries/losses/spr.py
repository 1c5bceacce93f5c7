"""SPR: predict the encoder's output for future frames from the actions in between. Schwarzer et al., "Data-efficient
reinforcement learning with self-predictive representations" (2021). Without augmentation it is the latent prediction of
BYOL, with a slowly following target instead of differing views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.contrastive import pair_mask
from ...backbones.contrastive.pairs import draw, usable_horizons
from ...backbones.encoder import Encoder
from ...backbones.grid import Grid
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig, image_shape
from ..generators import Draws
from ..reduction import average
from .parts.augment import random_intensity, random_shift, scaled
from .parts.target_network import follow, frozen

PROJECTION = 256
"""Width of the compared projections."""
AUGMENTED = "SPR with augmentation (--aux.spr.no-augment is without)"
"""Subject of error messages about augmentation."""
INTENSITY = 0.05
"""Standard deviation of the factor by which augmentation changes a frame's brightness."""


def renormalised(z: Tensor) -> Tensor:
    """Compute ``(z - min z) / (max z - min z)`` over each item of [N, ...]; 0 where it is constant."""
    low, high = z.flatten(1).aminmax(dim=1)
    low, spread = (x.view(-1, *[1] * (z.dim() - 1)) for x in (low, high - low))
    return (z - low) / torch.where(spread > 0, spread, 1.0)


def cosine_loss(x: Tensor, y: Tensor) -> Tensor:
    """Compute ``|x / |x| - y / |y||^2 = 2 - 2 cos(x, y)``, [..., D] -> [...]: 0 for the same direction, 4 for opposite
    ones.
    """
    return 2 - 2 * F.cosine_similarity(x, y, dim=-1)


class Transition(nn.Module):
    """The latent map after an action, in [0, 1]: convolution of the map and one-hot action planes, ReLU, convolution,
    ReLU, renormalised. The paper's batch normalisation is omitted, so that items do not depend on each other.
    """

    def __init__(self, channels: int, num_actions: int, kernel: int) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.first = nn.Conv2d(channels + num_actions, channels, kernel, padding="same")
        self.second = nn.Conv2d(channels, channels, kernel, padding="same")

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        """Predict the next latent map: [M, c, h, w], [M] int64 -> [M, c, h, w]."""
        planes = one_hot(action, self.num_actions).to(z.dtype)[..., None, None].expand(-1, -1, *z.shape[2:])
        return renormalised(F.relu(self.second(F.relu(self.first(torch.cat([z, planes], dim=1))))))


@dataclass(frozen=True)
class SPRConfig(LossConfig):
    """SPR: predict future latents. The paper's code uses a weight of 5."""

    steps: Annotated[int, Meta(ge=1, le=4096)] = 5
    """Number of agent steps ahead to predict."""
    batch: Annotated[int, Meta(ge=1, le=2**20)] = 64
    """Number of rows of a rollout to predict from, sampled at each update."""
    augment: bool = True
    """Shift frames and vary their brightness, differently for prediction and target;
    the target is then the encoder itself, without a gradient."""
    momentum: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Fraction by which the target encoder moves towards the current encoder after each update;
    used only without augmentation (1 minus the momentum of BYOL)."""


class SPR(AuxiliaryLoss):
    """``2 - 2 cos(q(g(z_k)), g'(z'[t + k]))`` for k = 1 to K: z_k is the latent predicted from row t after k actions;
    z' the latent of the actual frame; g a projection, q a predictor, g' and z' without gradient.

    A latent is the torso's map, or its vector as a map of one location, renormalised. With augmentation, z_0 is the
    encoder's output for separately augmented frames; otherwise it is taken from the agent's unroll, and the target is a
    slow copy.
    """

    Config = SPRConfig
    paper = "predicts latents of the next frames from the current one and the actions (Schwarzer et al. 2021, SPR)"
    steps: Tensor
    target_encoder: Encoder

    def __init__(self, config: SPRConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        if config.augment:
            height, width, _ = image_shape(spec, AUGMENTED)
            self.shift = scaled(4, height, width)  # the paper's 4 pixels
        if config.steps < 1:
            raise ValueError(f"SPR predicts 1 step ahead or more, not {config.steps}")
        self.batch, self.augment, self.momentum = config.batch, config.augment, config.momentum
        self.register_buffer("steps", torch.arange(1, config.steps + 1), persistent=False)
        shape = (sizes.vector, 1, 1) if sizes.map is None else sizes.map
        self.transition = Transition(shape[0], spec.num_actions, kernel=1 if sizes.map is None else 3)
        self.projection = nn.Linear(math.prod(shape), PROJECTION)
        self.predictor = nn.Linear(PROJECTION, PROJECTION)
        if not self.augment:
            self.target_projection = frozen(self.projection)
        self.draws = Draws()

    def attach(self, encoder: Encoder) -> None:
        """Store the agent's encoder and, without augmentation, a copy of it for targets."""
        super().attach(encoder)
        if not self.augment:
            self.target_encoder = frozen(encoder)
        elif isinstance(encoder.torsos["image"], Grid):
            raise ValueError(f"{AUGMENTED} brightens images, and torso grid reads them as codes")

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [K, M] for M start rows; 0 and masked where a reset or the end of the rollout lies in
        between.
        """
        first, B = rollout.first, rollout.first.shape[1]
        steps = self.steps[: usable_horizons(range(1, len(self.steps) + 1), len(first))]
        pairs = pair_mask(first, steps, torch.ones_like(first)).flatten(1)  # [K, (T + 1) B], row t B + b
        start = draw(pairs[0], self.batch, self.draws.on(first.device))  # [M]
        there = pairs[:, start]
        ahead = (start + B * steps.unsqueeze(-1)).clamp(max=first.numel() - 1)  # [K, M]

        z = self._latent(rollout, features, start, there[0])
        y = torch.where(there.unsqueeze(-1), self._target(rollout, ahead), 0.0)
        done, predicted = rollout.action.flatten(), []
        for k in range(len(steps)):
            z = self.transition(z, done[(start + k * B).clamp(max=len(done) - 1)])
            predicted.append(z.flatten(1))
        loss = torch.where(there, cosine_loss(self.predictor(self.projection(torch.stack(predicted))), y), 0.0)
        self.metrics = {"cosine": average(1 - loss / 2, there), "loss_by_step": average(loss, there, -1)}
        return loss, there

    def after_update(self) -> None:
        """Move the target towards the networks it copies; without augmentation only."""
        if not self.augment:
            follow(self.target_encoder, self.encoder, self.momentum)
            follow(self.target_projection, self.projection, self.momentum)

    def _latent(self, rollout: Rollout, features: Features, start: Tensor, there: Tensor) -> Tensor:
        """Return latents [M, c, h, w] of rows ``start`` [M]; missing rows may be NaN, and zeros are used instead."""
        if self.augment:
            return _as_map(*self.encoder(self._look(rollout, start.unsqueeze(0))))
        if features.map is not None:
            return renormalised(torch.where(there.view(-1, 1, 1, 1), features.map[start].float(), 0.0))
        vector = features.vector.flatten(0, 1)[start]
        return _as_map(None, torch.where(there.unsqueeze(-1), vector, 0.0).unsqueeze(0))

    @torch.no_grad()
    def _target(self, rollout: Rollout, ahead: Tensor) -> Tensor:
        """Compute targets [K, M, PROJECTION] of rows ``ahead`` [K, M]."""
        encoder, projection = (
            (self.encoder, self.projection) if self.augment else (self.target_encoder, self.target_projection)
        )
        z = _as_map(*encoder(self._look(rollout, ahead)))
        y: Tensor = projection(z.flatten(1))
        return y.view(*ahead.shape, PROJECTION)

    def _look(self, rollout: Rollout, rows: Tensor) -> dict[str, Tensor]:
        """Return observations [*rows.shape, ...] of ``rows``, numbered t B + b; newly augmented at each call."""
        seen = {k: x.flatten(0, 1)[rows] for k, x in rollout.observation.items()}
        if self.augment:
            generator = self.draws.on(rows.device)
            image = random_shift(seen["image"].flatten(0, 1), self.shift, generator)
            seen["image"] = random_intensity(image, INTENSITY, generator).view_as(seen["image"])
        return seen


def _as_map(maps: Tensor | None, vector: Tensor) -> Tensor:
    """Return maps [N, c, h, w] in [0, 1]: from a map [N, c, h, w], or from a vector [T, B, E] as N = T B maps of one
    location.
    """
    latent = vector.flatten(0, 1)[..., None, None] if maps is None else maps.float()
    return renormalised(latent)
