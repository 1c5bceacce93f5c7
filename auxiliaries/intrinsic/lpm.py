"""Learning-progress monitoring (Hou et al., "Beyond noisy-TVs: noise-robust exploration via learning progress
monitoring", 2025).
"""

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
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..generators import Draws
from ..pooling import ExplainedVariance
from ..reduction import average
from .parts.dynamics import ResidualModels
from .parts.error_ring import Ring
from .parts.networks import perceptron, random_features
from .parts.view import View
from .parts.whitening import Whitening


@dataclass(frozen=True)
class LPMConfig(IntrinsicConfig):
    """Learning-progress monitoring: how much better a transition is predicted than by the model before."""

    ring: Annotated[int, Meta(ge=1, le=2**24)] = 10_000
    """Newest errors that the second network learns from."""
    floor: Annotated[float, Meta(gt=0)] = 1e-2
    """Error, as a share of the features' variance, below which further progress no longer counts."""
    size: Annotated[int, Meta(ge=1, le=2**16)] = 256
    """Number of random features (the paper: 512)."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 256
    """Width of both networks' layers (the paper: 512)."""
    blocks: Annotated[int, Meta(ge=0, le=64)] = 2
    """Residual blocks of the forward model, of two layers each (the paper: 4)."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side (the paper: 84)."""
    warmup_steps: Annotated[int, Meta(ge=1)] = 4096
    """Steps at the beginning, without this reward, whose observations set the statistics that whiten all later ones."""


class Context(NamedTuple):
    """What both networks learn from."""

    phi: Float[Tensor, "N B D"]
    error: Float[Tensor, "T B"]  # logarithm, of the model that scored


def log_error(
    guess: Float[Tensor, "*rows D"], target: Float[Tensor, "*rows D"], floor: float
) -> Float[Tensor, "*rows"]:
    """Compute ``ln(mean (guess - target)^2 + floor)``, which is bounded below: a model that halves its error for ever
    has nothing to learn in the end.
    """
    return ((guess - target).square().mean(-1) + floor).log()


class LPM(IntrinsicReward):
    """``g(phi[t], a[t]) - ln e[t]``: e is the error of the present forward model in fixed random features phi, and g
    what is expected of the previous model's. Positive where the model became better. Pure noise has nothing to offer:
    its error is as expected.

    The previous model is the one that scored the rollouts before this one. Errors enter the ring as they are scored:
    once for each transition, before any model has learnt from it. Updates in between, and further epochs, add none:
    what they leave is the present model of the next rollout. The ring spans several rollouts if they are shorter than
    it, and g then predicts the mean over the models that scored them.
    """

    Config = LPMConfig
    paper = "progress over the expected error of the previous model (LPM, Hou et al. 2025)"
    over = "life"
    trains = "a forward model and a model of its errors"

    def __init__(self, config: LPMConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view, self.actions = View(spec, config.side), spec.num_actions
        self.whitening = Whitening(self.view.shapes)
        self.embedding = random_features(self.view, config.size)
        self.dynamics = ResidualModels(1, config.size, spec.num_actions, config.hidden, config.blocks)
        self.expectation = perceptron((config.size + spec.num_actions, config.hidden, config.hidden, 1))
        for p in self.expectation[-1].parameters():
            nn.init.zeros_(p)  # nothing is expected to differ from the ring's mean yet
        self.ring = Ring(config.ring, config.size)
        self.draws = Draws()

    def warm_up(self, rollout: Rollout) -> None:
        """Set the whitening's statistics. They do not change later: fixed features have to stay fixed."""
        self.whitening.update(self.view({name: x[1:] for name, x in rollout.observation.items()}))

    def embed(self, rollout: Rollout) -> Tensor:
        """Return the random features phi [T + 1, B, D], each observation's with mean 0 and variance 1."""
        phi = self.embedding(self.whitening(self.view(rollout.observation)))
        return F.layer_norm(phi, phi.shape[-1:]).view(*rollout.first.shape, -1)

    def error(self, phi: Tensor, action: Tensor) -> Tensor:
        """Return the logarithm of the forward model's error [T, B]."""
        return log_error(self.dynamics(phi[:-1], action).squeeze(0), phi[1:], self.config.floor)

    def expected(self, phi: Tensor, action: Tensor) -> Tensor:
        """Return the error [...] to be expected of the ring's models. The network predicts the difference from the
        ring's mean, which it need not follow then.
        """
        y: Tensor = self.expectation(torch.cat([phi, one_hot(action, self.actions).to(phi.dtype)], -1))
        return y.squeeze(-1).float() + self.ring.mean

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Score T transitions; 0 as long as there is no previous model."""
        action = torch.where(rollout.valid, rollout.action, 0)
        with self.precision(rollout.reward.device):
            phi = self.embed(rollout)
            error = self.error(phi, action)
            progress = self.expected(phi[:-1], action) - error
        return Scored(torch.where(self.ring.seen > 0, progress, 0.0), (), Context(phi, error))

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Add the errors to the ring."""
        assert isinstance(scored.context, Context)
        phi, error = scored.context
        self.ring.add(phi[:-1], torch.where(rollout.valid, rollout.action, 0), error, rollout.valid)

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the forward model's error and, beside it, that of g at as many entries of the ring [2, T, B]."""
        assert isinstance(scored.context, Context)
        phi, valid = scored.context.phi, rollout.valid
        before, done, told = self.ring.sample(valid.numel(), self.draws.on(valid.device))
        with self.precision(valid.device):
            guess = self.dynamics(phi[:-1], torch.where(valid, rollout.action, 0)).squeeze(0)
            expected = self.expected(before, done)
        error = (guess - phi[1:]).square().mean(-1)
        there = (self.ring.seen > 0).expand(valid.shape)
        self.metrics = {
            "forward_error": average(error.detach(), valid),
            "expectation": ExplainedVariance.of(expected, told, there.flatten()),
            "ring": self.ring.filled[:-1].float().mean(),
        }
        return torch.stack([error, (expected - told).square().view_as(error)]), torch.stack([valid, there])
