"""Random encoders for efficient exploration (Seo et al., "State entropy maximization with random encoders", 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor, nn

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..reduction import average
from .parts.networks import Embedding, orthogonal
from .parts.view import View
from .parts.whitening import Moments

CPU_CHUNK, CHUNK = 2**20, 2**26
"""Distances that are computed at a time: on a CPU they fit its caches."""


@dataclass(frozen=True)
class RE3Config(IntrinsicConfig):
    """Random encoders for exploration: the distance to the nearest recent observations in random features."""

    neighbours: Annotated[int, Meta(ge=1, le=64)] = 5
    """Nearest observations whose distances are averaged (the paper: the third nearest alone, and the mean of five on
    MiniGrid)."""
    buffer: Annotated[int, Meta(ge=2, le=2**20)] = 10_000
    """Latest observations, of all environments, that are compared with; the cost is proportional."""
    size: Annotated[int, Meta(ge=1, le=2**12)] = 64
    """Number of random features."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side."""
    scaled: bool = True
    """Divide distances by their running standard deviation before the logarithm, as the authors do on MiniGrid;
    otherwise they are taken as they are."""


def bonus_of(distance: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Compute ``ln(1 + distance / scale)``, the terms of an estimate of entropy, without constants."""
    return torch.log1p(distance / scale)


def mean_nearest(
    ring: Float[Tensor, "N D"], filled: Tensor, rows: Float[Tensor, "T B D"], k: int
) -> Float[Tensor, "T B"]:
    """Compute the mean distance of each row to the ``k`` nearest of the N observations made before or beside it.

    These are the last ``filled`` (a scalar) of ``ring``, oldest first, then earlier rows and those of the same step,
    the row itself excluded. Where there are fewer than ``k``, the mean is of those, and 0 if there are none.
    """
    size, (steps, batch, _) = len(ring), rows.shape
    keys = torch.cat([ring, rows.flatten(0, 1)])
    place = torch.arange(len(keys), device=keys.device)
    norm = torch.where(place >= size - filled, keys.square().sum(-1), torch.inf)
    limit = CPU_CHUNK if keys.device.type == "cpu" else CHUNK
    stride = max(1, limit // (batch * (size + batch)))
    found = []
    for t in range(0, steps, stride):
        low, high = t * batch, min(t + stride, steps) * batch
        x, y = keys[size + low : size + high], keys[low : size + high]
        # Half of the squared distance, without what all keys share: it decides which are nearest, and no more.
        order = torch.addmm(norm[low : size + high] / 2, x, y.T, alpha=-1)
        begin = torch.arange(batch, high - low + batch, batch, device=keys.device).unsqueeze(-1)  # of what a step sees
        column = place[: size + high - low]
        outside = (column < begin) | (column >= begin + size)
        order = order.view(-1, batch, len(y)).masked_fill_(outside.unsqueeze(1), torch.inf).view(len(x), -1)
        order.scatter_(1, (size + place[: len(x)]).unsqueeze(-1), torch.inf)
        near = order.topk(min(k, len(y)), dim=-1, largest=False)
        there = near.values.isfinite()
        distance = (x.unsqueeze(1) - y[near.indices]).norm(dim=-1)
        found.append(torch.where(there, distance, 0.0).sum(-1) / there.sum(-1).clamp(min=1))
    return torch.cat(found).view(steps, batch)


class RE3(IntrinsicReward):
    """``ln(1 + mean distance to the k nearest)`` of o[t] in the features of a fixed random encoder, among the latest
    observations of all environments. The state that is acted from is scored; no network is trained.

    The paper adds it to each step's return and advantage as a term of its own. Here it is a reward like any other: it
    flows through the discounted return, so that actions are credited with the new states they lead to.
    """

    Config = RE3Config
    paper = "distance to the nearest observations in random features (RE3, Seo et al. 2021)"
    over = "the latest steps"
    ring: Tensor
    filled: Tensor

    def __init__(self, config: RE3Config, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view = View(spec, config.side)
        scale = 10.0 if self.view.small("image") else 255.0
        self.embedding = orthogonal(Embedding(self.view, (config.size,), nn.ReLU, scale)).requires_grad_(False)
        self.moments = Moments(1)
        self.register_buffer("ring", torch.zeros(config.buffer, config.size))  # oldest first
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Score T transitions; the context keeps the features [T, B, D] and the distances [T, B]."""
        seen = {name: x[:-1] for name, x in rollout.observation.items()}
        with self.precision(rollout.reward.device):
            y = self.embedding(self.view(seen)).view(*rollout.reward.shape, -1)
        distance = mean_nearest(self.ring, self.filled, y, self.config.neighbours)
        self.metrics = {
            "distance": average(distance, rollout.valid),
            "filled": self.filled / len(self.ring),
        }
        return Scored(bonus_of(distance, self.scale(distance)), (), (y, distance))

    def scale(self, distance: Tensor) -> Tensor:
        """Return the divisor of distances, a scalar: before anything was observed it is that of ``distance``."""
        if not self.config.scaled:
            return torch.ones_like(distance[0, 0])
        m = self.moments
        kept = (m.squares / m.count.clamp(min=1)).float().squeeze(0)
        variance = torch.where(m.count > 0, kept, distance.var(correction=0))
        return variance.sqrt().clamp(min=1e-6)

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Take in the observations, and the distances they were scored at."""
        y, distance = scored.context
        self.moments.update(distance.flatten().unsqueeze(-1))
        size = len(self.ring)
        self.ring.copy_(torch.cat([self.ring, y.flatten(0, 1)])[-size:])
        self.filled.copy_((self.filled + distance.numel()).clamp(max=size))
