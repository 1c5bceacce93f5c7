"""The intrinsic curiosity module (Pathak et al., "Curiosity-driven exploration by self-supervised prediction" 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..pooling import Commonest
from ..reduction import average
from .parts.dynamics import ForwardModel, InverseModel
from .parts.networks import Embedding
from .parts.view import View, Views, taken


@dataclass(frozen=True)
class ICMConfig(IntrinsicConfig):
    """Intrinsic curiosity module: the error of predicting what an action changes."""

    forward_share: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """Weight of the forward model's loss; the inverse model has the rest (beta of the paper).
    That loss is a sum over features, of which the paper has 288, and larger views have more: 576 at 42x42, 4,480 at
    72x96."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 256
    """Width of both models' hidden layer."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side."""
    shape_features: bool = True
    """Let the forward model's loss shape the features too, as in the authors' code; otherwise only the inverse does."""
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-3
    """Learning rate of the reward's own networks (Adam)."""


class Context(NamedTuple):
    """What scoring computed, for the models to learn from."""

    views: Views  # [T + 1, B, ...]
    graph: tuple[()] | tuple[Tensor, Tensor]  # features [T + 1, B, D] and errors [T, B], where their graph is kept


class ICM(IntrinsicReward):
    """``1/2 |f(phi[t], a[t]) - phi[t + 1]|^2`` in features phi from which the action between two observations can be
    told: what the agent does not influence need not be in them.
    """

    Config = ICMConfig
    paper = "error of predicting controllable features (ICM, Pathak et al. 2017)"
    over = "life"
    trains = "an inverse and a forward model"
    keeps_graph = True

    def __init__(self, config: ICMConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view = View(spec, config.side)
        # Vectors have no features of their own: without layers, noise in them would be predicted for ever.
        widths = (config.hidden, config.hidden) if "vector" in self.view.shapes else ()
        self.embedding = Embedding(self.view, widths, scale=255.0 if not self.view.small("image") else 10.0)
        self.inverse = InverseModel(self.embedding.size, spec.num_actions, config.hidden)
        self.dynamics = ForwardModel(self.embedding.size, spec.num_actions, config.hidden)

    def embed(self, views: Views, rollout: Rollout) -> Tensor:
        """Return the features phi [T + 1, B, D] of views that were kept."""
        phi: Tensor = self.embedding(taken(views))
        return phi.view(*rollout.first.shape, -1)

    def predicted(self, views: Views, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Return the features phi [T + 1, B, D] and the squared error [T, B] of predicting them."""
        phi = self.embed(views, rollout)
        inputs = phi if self.config.shape_features else phi.detach()
        guess = self.dynamics(inputs[:-1], torch.where(rollout.valid, rollout.action, 0))
        return phi, squared_error(guess, inputs[1:])

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Score T transitions by the forward model's error; the context keeps the views [T + 1, B, ...]."""
        with self.precision(rollout.reward.device):
            views = self.view.kept(rollout.observation)
            phi, error = self.predicted(views, rollout)
        return Scored(error, (), Context(views, (phi, error) if error.requires_grad else ()))

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return ``(1 - beta) L_inverse + beta L_forward`` [T, B]; a row that crosses a reset is not a transition."""
        assert isinstance(scored.context, Context)
        valid = rollout.valid
        action = torch.where(valid, rollout.action, 0)
        with self.precision(rollout.reward.device):
            phi, error = scored.context.graph or self.predicted(scored.context.views, rollout)
            logits = self.inverse(phi[:-1], phi[1:])
        inverse = F.cross_entropy(logits.flatten(0, 1), action.flatten(), reduction="none").view_as(rollout.reward)
        self.metrics = {
            "accuracy": average((logits.detach().argmax(-1) == action).float(), valid),
            "chance": Commonest.of(one_hot(action, logits.shape[-1]), valid),
            "forward_error": average(error.detach(), valid),
            "feature_size": average(phi.detach()[1:].square().mean(-1), valid),
        }
        beta = self.config.forward_share
        return (1 - beta) * inverse + beta * error, valid


def squared_error(guess: Tensor, phi: Tensor) -> Tensor:
    """Compute ``1/2 |guess - phi|^2``: [..., D] -> [...], summed over features (equation 6 of the paper)."""
    return (guess - phi).square().sum(-1) / 2
