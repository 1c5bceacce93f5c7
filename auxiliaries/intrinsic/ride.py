"""Rewarding impact-driven exploration (Raileanu & Rocktäschel, "RIDE", 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..pooling import Commonest
from ..reduction import average
from .parts.dynamics import ForwardModel, InverseModel
from .parts.keys import KeyConfig, Visits, first_visits
from .parts.networks import Embedding
from .parts.view import View


@dataclass(frozen=True)
class RIDEConfig(IntrinsicConfig):
    """RIDE: how much an action changes controllable features, less for observations made often in the episode."""

    forward_cost: Annotated[float, Meta(ge=0)] = 10.0
    """Weight of the forward model's loss."""
    inverse_cost: Annotated[float, Meta(ge=0)] = 0.1
    """Weight of the inverse model's loss."""
    shape_target: bool = False
    """Let the forward model's loss also shape the features that it predicts, as in the authors' code. They may then
    shrink until no action can be told from them, and nothing is rewarded."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 256
    """Width of both models' hidden layer, and of two layers that embed where there are vectors."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side before they are embedded."""
    key: Literal["view", "cell"] = "view"
    """What is counted: view (a hash of what the agent sees) or cell (the cell of the map it is in: privileged; the
    authors' code counts the whole grid, which is privileged too)."""
    key_side: Annotated[int, Meta(ge=1, le=256)] | None = None
    """Images are averaged down to at least this many pixels a side before they are compared; 1 is the mean of an
    image. By default it is 1 for colour images and 8 for grey ones."""
    key_levels: Annotated[int, Meta(ge=2, le=256)] | None = None
    """Levels of each channel that are told apart in them (default: 16 of colours, 8 of grey)."""
    episodic: bool = True
    """End this reward's return where an episode ends, as in the paper; otherwise it continues across resets."""


def impact(phi: Float[Tensor, "N B D"]) -> Float[Tensor, "T B"]:
    """Compute ``|phi[t + 1] - phi[t]|``, the Euclidean norm (Raileanu & Rocktäschel 2020, equation 3)."""
    change: Tensor = (phi[1:] - phi[:-1]).norm(dim=-1)
    return change


class RIDE(IntrinsicReward):
    """``|phi(o[t + 1]) - phi(o[t])| / sqrt(N(o[t + 1]))``, N in the current episode, this visit included, and phi
    trained by an inverse and a forward model: what the agent neither influences nor can predict need not be in it.

    The forward model's loss is the norm of its error, as in the authors' code, and not its square, as in the paper: the
    weights of the losses are meant for it. Unlike theirs, it shapes the features it starts from only: they shrink where
    it may also move those it predicts, for a norm pulls no less when it is small.
    """

    Config = RIDEConfig
    paper = "change of controllable features over the root of visits (RIDE, Raileanu & Rocktäschel 2020)"
    over = "episode"
    trains = "an inverse and a forward model"

    def __init__(self, config: RIDEConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view = View(spec, config.side)
        widths = (config.hidden,) * 2 if "vector" in self.view.shapes else ()  # a vector as it is would not be learnt
        self.embedding = Embedding(self.view, widths, scale=10.0 if self.view.small("image") else 255.0)
        self.inverse = InverseModel(self.embedding.size, spec.num_actions, config.hidden)
        self.dynamics = ForwardModel(self.embedding.size, spec.num_actions, config.hidden)
        self.visits = Visits(KeyConfig(key=config.key, side=config.key_side, levels=config.key_levels), spec)
        self.needs = self.visits.needs

    def initial_state(self, batch: int) -> State:
        """Return memories of nothing: the keys of an episode."""
        return self.visits.initial_state(batch)

    def embed(self, rollout: Rollout) -> Tensor:
        """Return the features phi [T + 1, B, D]."""
        with self.precision(rollout.reward.device):
            phi: Tensor = self.embedding(self.view(rollout.observation))
        return phi.view(*rollout.first.shape, -1)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions."""
        number, memory = self.visits(rollout, state)
        change = impact(self.embed(rollout))
        self.metrics = first_visits(number, rollout) | {"impact": average(change, rollout.valid)}
        return Scored(change * number.float().rsqrt(), memory)

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of both models' losses [T, B]; a row that crosses a reset is not a transition."""
        phi, valid = self.embed(rollout), rollout.valid
        action = torch.where(valid, rollout.action, 0)
        with self.precision(rollout.reward.device):
            logits = self.inverse(phi[:-1], phi[1:])
            guess = self.dynamics(phi[:-1], action)
        inverse = F.cross_entropy(logits.flatten(0, 1), action.flatten(), reduction="none").view_as(rollout.reward)
        target = phi if self.config.shape_target else phi.detach()
        error = torch.linalg.vector_norm(guess - target[1:], dim=-1)
        self.metrics = self.metrics | {
            "accuracy": average((logits.detach().argmax(-1) == action).float(), valid),
            "chance": Commonest.of(one_hot(action, logits.shape[-1]), valid),
            "forward_error": average(error.detach(), valid),
            "feature_size": average(torch.linalg.vector_norm(phi.detach()[1:], dim=-1), valid),
        }
        return self.config.inverse_cost * inverse + self.config.forward_cost * error, valid
