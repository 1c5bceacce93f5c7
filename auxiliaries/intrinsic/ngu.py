"""Never give up (Badia et al., "Never give up: learning directed exploration strategies", 2020)."""

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
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import Scored
from ..pooling import Commonest
from ..reduction import average
from .parts.distillation import Distilled, DistilledConfig, Known
from .parts.dynamics import InverseModel
from .parts.episodes import Episode, Recalled, compared, empty, remember
from .parts.neighbours import nearest, squared_distances
from .parts.networks import Embedding
from .parts.view import taken


@dataclass(frozen=True)
class NGUConfig(DistilledConfig):
    """Never give up: how far from what the episode held so far, times how new in the whole life."""

    neighbours: Annotated[int, Meta(ge=1, le=2**12)] = 10
    """Number of nearest neighbours."""
    memory: Annotated[int, Meta(ge=1, le=2**20)] = 4096
    """Newest observations of an episode that are compared (the paper: 30000)."""
    embedding: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Number of features in which observations are compared."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 128
    """Width of the inverse model's hidden layer."""
    epsilon: Annotated[float, Meta(gt=0)] = 1e-4
    """Distance, in units of the mean, at which the kernel is half (the paper's table; its text: 1e-3)."""
    cluster: Annotated[float, Meta(ge=0)] = 0.008
    """Distance, in units of the mean, below which observations are the same (xi)."""
    constant: Annotated[float, Meta(gt=0)] = 1e-3
    """Added to the similarity (c)."""
    greatest: Annotated[float, Meta(gt=0)] = 8.0
    """Similarity above which the reward is 0 (s_m); fewer than 64 neighbours never reach 8."""
    limit: Annotated[float, Meta(ge=1)] = 5.0
    """Greatest factor by which lifelong novelty multiplies the reward (L); 1 leaves it out."""
    size: Annotated[int, Meta(ge=1, le=2**16)] = 128
    """Number of random features of the lifelong novelty."""
    learning_rate: Annotated[float, Meta(gt=0)] = 5e-4
    """Learning rate of the reward's own networks (Adam)."""
    episodic: bool = True
    """End this reward's return where an episode ends, as in the paper; otherwise it continues across resets."""


class Running(NamedTuple):
    """A mean per environment, as a sum and a number."""

    total: Float[Tensor, " B"]  # float64
    number: Float[Tensor, " B"]  # float64


class Memory(NamedTuple):
    """What is remembered of each environment."""

    episode: Episode  # embeddings [B, M, D]
    distance: Running  # d_m^2, over its whole life


class Context(NamedTuple):
    """What `observe` and `forward` reuse."""

    known: Known  # of the observations arrived at
    graph: tuple[Tensor, ...]  # the embeddings, where their graph is kept


def running_mean(distance: Float[Tensor, "T B k"], before: Running) -> tuple[Float[Tensor, "T B"], Running]:
    """Compute d_m^2, the mean of all finite distances up to each row, that row included, and it after the last row.

    The order of time matters, for a row is divided by the mean it has just been included in. All rows at once:
    cumulative sums over time, added to those before the rollout; rounding aside, a split rollout gives the same.
    """
    known = distance.isfinite()
    total = before.total + torch.where(known, distance, 0.0).sum(-1, dtype=torch.float64).cumsum(0)
    number = before.number + known.sum(-1).double().cumsum(0)
    return (total / number.clamp(min=1)).float(), Running(total[-1], number[-1])


def episodic_bonus(
    distance: Float[Tensor, "T B k"], mean: Float[Tensor, "T B"], settings: NGUConfig
) -> Float[Tensor, "T B"]:
    """Compute ``1 / s``, s = sqrt(sum K) + c over the nearest, K = epsilon / (max(d^2 / d_m^2 - xi, 0) + epsilon), or
    0 where s > s_m (Badia et al. 2020, equations 2 and 3, algorithm 1).

    Infinitely far ones are none; where d_m^2 is 0, all are the same.
    """
    scale = mean.unsqueeze(-1)
    relative = torch.where((scale > 0) | distance.isinf(), distance / scale, 0.0)
    kernel = settings.epsilon / ((relative - settings.cluster).clamp(min=0) + settings.epsilon)
    similar = kernel.sum(-1).sqrt() + settings.constant
    return torch.where(similar > settings.greatest, 0.0, similar.reciprocal())


def modulator(error: Float[Tensor, "T B"], sums: Float[Tensor, 3], limit: float) -> Float[Tensor, "T B"]:
    """Compute ``clip(1 + (error - mean) / deviation, 1, L)`` (Badia et al. 2020, equation 1), with the moments of
    errors of which ``sums`` has the number, the sum, and the sum of squares. 1 if they did not vary.
    """
    count, total, squares = sums
    mean = total / count.clamp(min=1)
    deviation = (squares / count.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    factor = torch.where(deviation > 1e-6 * mean, 1 + (error - mean) / deviation, 1.0)
    return factor.clamp(1, limit).float()


class NGU(Distilled):
    """``1 / s(o[t + 1])`` times ``clip(1 + (e - mean e) / std e, 1, L)``: s is the similarity to the nearest
    observations of the episode so far, in features from which the action between two can be told; e is RND's error.

    d_m^2, the unit of distance, is a running mean of each environment in the order of time (``running_mean``). The
    moments of e are those of all environments before the rollout, whose order then does not matter; they include it
    once it has been scored, and until there are any the factor is 1. As RND's error fades, so does the factor.

    The reward is 30 where all neighbours are equally far; the paper's agent rescales its values, and here the learner's
    normaliser divides.
    """

    errors: Tensor
    Config = NGUConfig
    paper = "distance from the episode so far, times lifelong novelty (NGU, Badia et al. 2020)"
    over = "episode and life"
    trains = "an inverse model and a predictor"

    def __init__(self, config: NGUConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config, spec, sizes)
        scale = 10.0 if self.view.small("image") else 255.0
        self.embedding = Embedding(self.view, (config.embedding,), nn.ReLU, scale)
        self.inverse = InverseModel(config.embedding, spec.num_actions, config.hidden)
        self.register_buffer("errors", torch.zeros(3, dtype=torch.float64))  # their number, sum, and sum of squares
        self.entries = min(config.memory, spec.max_steps or config.memory) + 1  # and the observation that is compared

    def initial_state(self, batch: int) -> State:
        """Return memories of nothing."""
        like = next(self.embedding.parameters()).detach()
        nothing = like.new_zeros(2, batch, dtype=torch.float64)
        return Memory(empty(batch, self.entries, like, (self.config.embedding,)), Running(*nothing.unbind()))

    def embed(self, rollout: Rollout) -> Tensor:
        """Return the embeddings [T + 1, B, D] of the observations."""
        phi: Tensor = self.embedding(taken(self.view.kept(rollout.observation)))
        return phi.view(*rollout.first.shape, -1)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions; the context keeps what is known of the observations."""
        assert isinstance(state, Memory)
        c, valid = self.config, rollout.valid
        with self.precision(rollout.reward.device):
            phi = self.embed(rollout)
            graph, phi = (phi,) if phi.requires_grad else (), phi.detach()
            known = self.known(self.whitened({name: x[1:] for name, x in rollout.observation.items()}), rollout)

        def nearby(x: Tensor, recalled: Recalled) -> Tensor:
            return nearest(squared_distances(x, recalled), c.neighbours).transpose(0, 1)

        near = compared(nearby, state.episode, phi, rollout.first)[1:]
        mean, running = running_mean(near, state.distance)
        bonus, factor = episodic_bonus(near, mean, c), modulator(known.error.detach(), self.errors, c.limit)
        episode = remember(state.episode, phi, rollout.first)
        self.metrics = {
            "episodic_bonus": average(bonus, valid),
            "factor": average(factor, valid),
            "error": average(known.error.detach(), valid),
            "distance": average(mean, valid),
            "memory": average(episode.length / self.entries, torch.ones_like(valid[0])),
        }
        return Scored(torch.where(valid, bonus * factor, 0.0), Memory(episode, running), Context(known, graph))

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Include the rollout in the statistics of observations and of errors."""
        assert isinstance(scored.context, Context)
        super().observe(rollout, features, scored)
        error = torch.where(rollout.valid, scored.context.known.error.detach(), 0.0).double()
        self.errors += torch.stack([rollout.valid.sum(), error.sum(), error.square().sum()])

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the inverse model's loss in nats plus RND's error [T, B]."""
        assert isinstance(scored.context, Context)
        valid = rollout.valid
        action = torch.where(valid, rollout.action, 0)
        with self.precision(rollout.reward.device):
            phi = scored.context.graph[0] if scored.context.graph else self.embed(rollout)
            logits = self.inverse(phi[:-1], phi[1:])
        inverse = F.cross_entropy(logits.flatten(0, 1), action.flatten(), reduction="none").view_as(rollout.reward)
        error, mask = super().forward(rollout, features, scored._replace(context=scored.context.known))
        self.metrics = self.metrics | {
            "accuracy": average((logits.detach().argmax(-1) == action).float(), valid),
            "chance": Commonest.of(one_hot(action, logits.shape[-1]), valid),
        }
        return inverse + torch.where(mask, error, 0.0), valid
