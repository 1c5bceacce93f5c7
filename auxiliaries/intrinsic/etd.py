"""Episodic novelty through temporal distance (Jiang et al. 2025, ETD)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.contrastive.pairs import draw
from ...envs.experience import Rollout, Spec
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..generators import Draws
from ..reduction import average
from .parts.episodes import Episode, Recalled, compared, empty, remember
from .parts.networks import Embedding, perceptron
from .parts.view import View, Views

CPU_CHUNK, CHUNK = 2**19, 2**28
"""Differences that are computed at a time: on a CPU they fit its caches."""
ABSENT = -1e9
"""Energy of a pair that is not there; finite, so that its gradient is 0."""


@dataclass(frozen=True)
class ETDConfig(IntrinsicConfig):
    """Temporal distance to an observation from the nearest one of the episode so far."""

    size: Annotated[int, Meta(ge=2, le=2**12, multiple_of=2)] = 64
    """Number of features between which distances are measured; half of them tell directions apart."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 128
    """Number of features of an observation, and width of the layers after them."""
    batch: Annotated[int, Meta(ge=2, le=2**14)] = 256
    """Pairs that are contrasted at each update, each with all others (the paper: 512)."""
    horizon: Annotated[float, Meta(gt=0, lt=1)] = 0.99
    """Probability that a pair lies another step apart, within its episode and unroll."""
    memory: Annotated[int, Meta(ge=1, le=2**16)] = 1024
    """Newest observations of an episode that are compared with (the paper: all)."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side."""
    learning_rate: Annotated[float, Meta(gt=0)] = 3e-4
    """Learning rate of the reward's own networks (Adam)."""


def quasimetric(x: Float[Tensor, "*#n D"], y: Float[Tensor, "*#n D"]) -> Float[Tensor, "*#n"]:
    """Compute ``max_j relu(x_j - y_j) + |x' - y'|`` of the halves of the features (Liu et al. 2023, MRN):
    0 from x to x, never negative, never longer than by way of a third, and another in the other direction.
    """
    (a, p), (b, q) = x.chunk(2, -1), y.chunk(2, -1)
    distance: Tensor = F.relu(a - b).amax(-1) + (p - q).norm(dim=-1)
    return distance


def nearest_before(rows: Float[Tensor, "N B D"], recalled: Recalled) -> Float[Tensor, "N B"]:
    """Compute ``min_i d(s[i], s[t])`` over the i that precede t in its episode; infinite where there are none."""
    (a, p), (b, q) = recalled.keys.chunk(2, -1), rows.transpose(0, 1).chunk(2, -1)
    way = torch.cdist(q, p, compute_mode="donot_use_mm_for_euclid_dist")  # [B, N, K]
    a, b = (x.permute(2, 0, 1).contiguous() for x in (a, b))
    limit = CPU_CHUNK if rows.device.type == "cpu" else CHUNK
    pieces = min(len(rows), max(1, way.numel() * len(a) // limit))
    up = [(a.unsqueeze(2) - part.unsqueeze(3)).amax(0) for part in b.tensor_split(pieces, 2)]
    return torch.where(recalled.earlier, way + torch.cat(up, 1).clamp(min=0), torch.inf).amin(-1).T


def steps_left(first: Bool[Tensor, "N B"]) -> Int[Tensor, "T B"]:
    """Count the later rows of the same episode, for rows 0 to T - 1."""
    rows = len(first)
    index = torch.arange(rows, device=first.device).unsqueeze(-1)
    begin = torch.where(first, index, rows).flip(0).cummin(0).values.flip(0)  # of the next episode, or this row
    return begin[1:] - 1 - index[:-1]


def offset_of(u: Tensor, left: Tensor, horizon: float) -> Tensor:
    """Map ``u``, uniform in [0, 1), to k from 1 to ``left`` with probability proportional to horizon^k, int64."""
    k = torch.log1p(-u * (1 - horizon**left)) / math.log(horizon)
    return torch.minimum(1 + k.floor().long(), left).clamp(min=1)


def contrast(energy: Float[Tensor, "M M"], present: Bool[Tensor, " M"]) -> Float[Tensor, " M"]:
    """Compute symmetric InfoNCE in nats: the pair of each row is to be told among columns, and that of each column
    among rows. Pairs that are not ``present`` are nobody's negatives, and their own values mean nothing.
    """
    energy = energy.masked_fill(~(present & present.unsqueeze(-1)), ABSENT)
    right = energy.diagonal()
    return (energy.logsumexp(0) + energy.logsumexp(1)) / 2 - right


class ETD(IntrinsicReward):
    """``min_i d(s[i], s[t + 1])`` over the episode: d is a learnt quasimetric in which what soon follows is near.

    It is trained by telling which observation follows which, a geometrically distributed number of steps later, from
    the energy ``c(y) - d(x, y)``. Features of earlier observations are those of the weights that scored them.
    """

    Config = ETDConfig
    paper = "temporal distance from the nearest state of the episode (ETD, Jiang et al. 2025)"
    over = "episode"
    trains = "a quasimetric"
    length = 5  # in shorter unrolls little but the next step is learnt

    def __init__(self, config: ETDConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        if config.size % 2:
            raise ValueError(f"ETD needs an even number of features, half of them for directions, not {config.size}")
        self.view = View(spec, config.side)
        self.entries = min(config.memory, spec.max_steps or config.memory) + 1
        scale = 10.0 if self.view.small("image") else 255.0
        self.embedding = Embedding(self.view, (config.hidden,), nn.ReLU, scale)
        self.norm = nn.LayerNorm(config.hidden)
        self.place = perceptron((config.hidden, config.hidden, config.size))
        self.potential = perceptron((config.hidden, config.hidden, 1))
        self.draws = Draws()

    def initial_state(self, batch: int) -> Episode:
        """Return memories of nothing."""
        return empty(batch, self.entries, self.norm.weight.detach(), (self.config.size,))

    def embed(self, views: Views) -> Tensor:
        """Return features [N, hidden] of views."""
        phi: Tensor = F.relu(self.norm(self.embedding(views)))
        return phi

    def score(self, rollout: Rollout, features: Features, state: Episode) -> Scored:
        """Score T transitions."""
        first = rollout.first
        with self.precision(first.device):
            x = self.place(self.embed(self.view(rollout.observation))).float().unflatten(0, first.shape)
        bonus = torch.where(rollout.valid, compared(nearest_before, state, x, first)[1:], 0.0)
        return Scored(bonus, remember(state, x, first))

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the contrastive loss of pairs [M] in nats, and which are there."""
        first, batch = rollout.first, rollout.first.shape[1]
        generator = self.draws.on(first.device)
        left = steps_left(first).flatten()
        start = draw(left > 0, self.config.batch, generator)
        u = torch.rand(len(start), generator=generator, device=first.device)
        present = left[start] > 0
        later = start + batch * torch.where(present, offset_of(u, left[start], self.config.horizon), 0)
        pairs = torch.cat([start, later])
        seen = {name: x.flatten(0, 1)[pairs] for name, x in rollout.observation.items()}
        with self.precision(first.device):
            phi = self.embed(self.view(seen))
            x, y = self.place(phi).float().chunk(2)
            potential = self.potential(phi.chunk(2)[1]).float().squeeze(-1)
        distance = quasimetric(x.unsqueeze(1), y)
        energy = potential - distance
        value = contrast(energy, present)
        right = energy.detach().masked_fill(~present, ABSENT).argmax(-1) == torch.arange(len(u), device=u.device)
        self.metrics = {
            "accuracy": average(right.float(), present),
            "chance": average((1 / present.sum().clamp(min=1)).expand_as(u), present),
            "distance": average(distance.detach().diagonal(), present),
        }
        return value, present
