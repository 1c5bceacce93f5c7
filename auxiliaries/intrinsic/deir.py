"""Discriminative-model-based episodic intrinsic rewards (Wan et al. 2023, DEIR)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...backbones.recurrent import GRU
from ...envs.experience import Rollout, Spec
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..generators import Draws
from ..pooling import Commonest
from ..reduction import average
from .parts.episodes import Episode, Recalled, compared, empty, remember
from .parts.neighbours import squared_distances
from .parts.networks import Embedding, perceptron
from .parts.view import View, Views

EPSILON = 1e-6
"""Added to the distance of two trajectories."""
MOMENTUM = 0.9
"""Factor by which each rollout scales the older mean bonus, which decides what enters the queue."""


@dataclass(frozen=True)
class DEIRConfig(IntrinsicConfig):
    """Episodic novelty of an observation, relative to that of the trajectory that led to it."""

    size: Annotated[int, Meta(ge=1, le=2**12)] = 128
    """Number of features of an observation, and of a trajectory."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 256
    """Width of the discriminator's hidden layer."""
    queue: Annotated[int, Meta(ge=2, le=2**20)] = 10_000
    """Observations from which the discriminator's false ones are drawn (the paper: 100,000)."""
    memory: Annotated[int, Meta(ge=1, le=2**16)] = 1024
    """Newest observations of an episode that are compared with (the paper: all)."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side."""
    learning_rate: Annotated[float, Meta(gt=0)] = 3e-4
    """Learning rate of the reward's own networks (Adam)."""


def novelty(rows: Float[Tensor, "N B D"], recalled: Recalled) -> Float[Tensor, "N B"]:
    """Compute ``min_i |e[i] - e[t]|^2 / (|h[i] - h[t]| + epsilon)`` over the i that precede t in its episode (equation
    4); infinite where there are none. Rows and keys hold e and h, joined.
    """
    (e, h), (seen, led) = rows.chunk(2, -1), recalled.keys.chunk(2, -1)
    apart = squared_distances(e, Recalled(seen, recalled.earlier))
    by = squared_distances(h, Recalled(led, recalled.earlier)).sqrt()
    return torch.where(recalled.earlier, apart / (by + EPSILON), torch.inf).amin(-1).T


class Queue(nn.Module):
    """The newest N of the observations that entered, as views; images are rounded to bytes."""

    total: Tensor

    def __init__(self, view: View, size: int) -> None:
        super().__init__()
        self.size, self.names = size, tuple(view.shapes)
        self.register_buffer("total", torch.zeros((), dtype=torch.int64))
        for name, shape in view.shapes.items():
            kind = torch.uint8 if name == "image" else torch.float32
            self.register_buffer(f"seen_{name}", torch.zeros(size + 1, *shape, dtype=kind))  # the last row is waste

    @property
    def filled(self) -> Tensor:
        """Return how many there are."""
        return self.total.clamp(max=self.size)

    def add(self, views: Views, enters: Tensor) -> None:
        """Take in those of N views that are marked [N] bool, in order."""
        rank = enters.long().cumsum(0)
        kept = enters & (rank > rank[-1] - self.size)
        slot = torch.where(kept, (self.total + rank - 1) % self.size, self.size)
        for name, x in views.items():
            seen = getattr(self, f"seen_{name}")
            seen.index_copy_(0, slot, rounded(name, x).to(seen.dtype))
        self.total += rank[-1]

    def draw(self, unlike: Views, generator: torch.Generator) -> tuple[Views, Tensor]:
        """Draw as many views as there are in ``unlike``, and tell which differ from it [N] bool: it is tried twice."""
        count, device = len(next(iter(unlike.values()))), self.total.device
        index = (torch.rand(2, count, generator=generator, device=device) * self.filled).long().clamp(max=self.size - 1)
        drawn = [{name: getattr(self, f"seen_{name}")[i].float() for name in self.names} for i in index]
        one, two = (differ(views, unlike) for views in drawn)
        found = {
            name: torch.where(one.view(-1, *[1] * (x.dim() - 1)), x, drawn[1][name]) for name, x in drawn[0].items()
        }
        return found, (one | two) & (self.total > 0)


def rounded(name: str, x: Tensor) -> Tensor:
    """Round images to whole levels."""
    return x.round() if name == "image" else x


def differ(x: Views, y: Views) -> Tensor:
    """Tell which of N views differ [N] bool; images are compared as rounded."""
    return torch.stack([(rounded(k, x[k]) != rounded(k, y[k])).flatten(1).any(-1) for k in x]).any(0)


class Remembered(NamedTuple):
    """What an environment remembers of its episode."""

    episode: Episode  # e and the h before it, joined
    trajectory: Tensor  # h before the last row [B, H]


class DEIR(IntrinsicReward):
    """``min_i |e[i] - e[t + 1]|^2 / (|h[i] - h[t]| + epsilon)`` over the episode: e are features of an observation, h
    those of the trajectory up to it, in which h[i] is the one that led to o[i] (nothing, at the beginning).

    What differs only because it was reached by another way counts little. The features are those from which the true
    next observation can be told from one of other times, given the trajectory and the action.
    """

    Config = DEIRConfig
    paper = "novelty in the episode, relative to the trajectory's (DEIR, Wan et al. 2023)"
    over = "episode"
    trains = "a discriminator"
    max_grad_norm = 0.5
    mean: Tensor

    def __init__(self, config: DEIRConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view = View(spec, config.side)
        self.entries = min(config.memory, spec.max_steps or config.memory) + 1
        scale = 10.0 if self.view.small("image") else 255.0
        # The paper's batch normalisation would make rows depend on each other.
        self.embedding = Embedding(self.view, (config.size,), nn.ReLU, scale)
        self.norm = nn.LayerNorm(config.size)
        self.gru, self.actions = GRU(config.size, config.size), spec.num_actions
        self.discriminator = perceptron((2 * config.size + spec.num_actions, config.hidden, 1))
        self.queue, self.draws = Queue(self.view, config.queue), Draws()
        self.register_buffer("mean", torch.zeros(()))

    def initial_state(self, batch: int) -> Remembered:
        """Return memories of nothing."""
        size, like = self.config.size, self.norm.weight.detach()
        return Remembered(empty(batch, self.entries, like, (2 * size,)), like.new_zeros(batch, size))

    def embed(self, views: Views) -> Tensor:
        """Return the features e [N, E] of views."""
        e: Tensor = self.norm(self.embedding(views))
        return e.float()

    def step(self, e: Tensor, h: Tensor) -> Tensor:
        """Advance trajectories by one observation each: [..., E] and [..., H] -> [..., H]."""
        x, before = e.reshape(1, -1, e.shape[-1]), h.reshape(-1, h.shape[-1])
        found: Tensor = self.gru(x, (before,), torch.zeros_like(x[..., 0], dtype=torch.bool))[0]
        return found.view_as(h)

    def score(self, rollout: Rollout, features: Features, state: Remembered) -> Scored:
        """Score T transitions; the context keeps the h before each row [T, B, H]."""
        first = rollout.first
        with self.precision(first.device):
            e = self.embed(self.view(rollout.observation)).view(*first.shape, -1)
            h, (after,) = self.gru(e[:-1], (state.trajectory,), first[:-1])
        led = torch.cat([state.trajectory.unsqueeze(0), h.float()])
        led = torch.where(first.unsqueeze(-1), 0.0, led)
        rows = torch.cat([e, led], -1)
        bonus = compared(novelty, state.episode, rows, first)[1:]
        bonus = torch.where(rollout.valid, bonus, 0.0)
        return Scored(bonus, Remembered(remember(state.episode, rows, first), after.float()), led[:-1])

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Take into the queue what was at least as new as usual; at first everything."""
        valid, begins = rollout.valid, self.queue.total == 0
        enters = valid & ((scored.raw >= self.mean) | begins)
        mean = torch.where(valid, scored.raw, 0.0).sum() / valid.sum().clamp(min=1)
        mean = torch.where(begins, mean, MOMENTUM * self.mean + (1 - MOMENTUM) * mean)
        self.mean.copy_(torch.where(valid.any(), mean, self.mean))
        arrived = self.view({name: x[1:] for name, x in rollout.observation.items()})
        self.queue.add(arrived, enters.flatten())

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the discriminator's loss [2, T, B] in nats on true and on false next observations, which weigh the
        same.
        """
        valid, device = rollout.valid, rollout.reward.device
        action = one_hot(torch.where(valid, rollout.action, 0), self.actions)
        views = self.view(rollout.observation)
        arrived = {name: x[rollout.first.shape[1] :] for name, x in views.items()}  # all but row 0
        false, differs = self.queue.draw(arrived, self.draws.on(device))
        differs = differs.view_as(valid) & valid
        with self.precision(device):
            e = self.embed(views).view(*rollout.first.shape, -1)
            h = self.step(e[:-1], scored.context)
            both = torch.stack([e[1:], self.embed(false).view_as(e[1:])])
            next_h = self.step(both, h.expand(2, *h.shape))
            given = torch.cat([h, action.to(h.dtype)], -1).expand(2, -1, -1, -1)
            logits = self.discriminator(torch.cat([given, next_h], -1)).squeeze(-1).float()
        label = torch.zeros_like(logits)
        label[0] = 1.0
        there = torch.stack([valid, differs])
        self.metrics = {
            "accuracy": average(((logits.detach() > 0) == label.bool()).float(), there),
            "chance": Commonest.of(one_hot(label.long(), 2), there),
            "queue": self.queue.filled / self.queue.size,
        }
        loss = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
        balance = valid.sum() / differs.sum().clamp(min=1)
        return torch.stack([loss[0], torch.where(differs, loss[1] * balance, 0.0)]), valid.expand(2, -1, -1)
