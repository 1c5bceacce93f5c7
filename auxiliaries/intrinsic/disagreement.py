"""Disagreement of an ensemble (Pathak et al., "Self-supervised exploration via disagreement", 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Bool, Float
from msgspec import Meta
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..generators import Draws
from ..reduction import average
from .parts.dynamics import ResidualModels
from .parts.networks import random_features
from .parts.view import View
from .parts.whitening import Whitening


@dataclass(frozen=True)
class DisagreementConfig(IntrinsicConfig):
    """Disagreement: the variance of what several forward models predict."""

    models: Annotated[int, Meta(ge=2, le=256)] = 5
    """Number of forward models."""
    keep: Annotated[float, Meta(gt=0, le=1)] = 0.8
    """Share of the samples that each model learns from, each its own."""
    size: Annotated[int, Meta(ge=1, le=2**16)] = 512
    """Number of random features."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 256
    """Width of the forward models' layers (the paper: 512)."""
    blocks: Annotated[int, Meta(ge=0, le=64)] = 1
    """Residual blocks of each forward model, of two layers each (the paper: 4)."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side (the paper: 84)."""
    warmup_steps: Annotated[int, Meta(ge=1)] = 4096
    """Steps at the beginning, without this reward, whose observations set the statistics that whiten all later ones
    (the paper: 10,000)."""


class Context(NamedTuple):
    """What the models learn from."""

    phi: Float[Tensor, "N B D"]
    kept: Bool[Tensor, "T B M"]  # which models learn from a transition


def disagreement(guesses: Float[Tensor, "M *rows D"]) -> Float[Tensor, "*rows"]:
    """Compute the variance over the M models, divided by M, averaged over features (Pathak et al. 2019, equation 1)."""
    return guesses.var(0, correction=0).mean(-1)


class Disagreement(IntrinsicReward):
    """``mean Var_m f_m(phi[t], a[t])`` of M forward models in fixed random features phi.

    Lifelong: models agree on what they have seen often, and on the mean of noise too. What happens is not looked at.
    """

    Config = DisagreementConfig
    paper = "disagreement of several forward models (Pathak et al. 2019)"
    over = "life"
    trains = "forward models"

    def __init__(self, config: DisagreementConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view = View(spec, config.side)
        self.whitening = Whitening(self.view.shapes)
        self.embedding = random_features(self.view, config.size)
        self.dynamics = ResidualModels(config.models, config.size, spec.num_actions, config.hidden, config.blocks)
        self.draws = Draws()

    def warm_up(self, rollout: Rollout) -> None:
        """Set the whitening's statistics. They do not change later: fixed features have to stay fixed."""
        self.whitening.update(self.view({name: x[1:] for name, x in rollout.observation.items()}))

    def embed(self, rollout: Rollout) -> Tensor:
        """Return the random features phi [T + 1, B, D]."""
        with self.precision(rollout.reward.device):
            phi: Tensor = self.embedding(self.whitening(self.view(rollout.observation)))
        return phi.view(*rollout.first.shape, -1)

    def guesses(self, phi: Tensor, rollout: Rollout) -> Tensor:
        """Return what each model predicts [M, T, B, D], in float32: bfloat16 does not resolve their differences."""
        guesses: Tensor = self.dynamics(phi[:-1], torch.where(rollout.valid, rollout.action, 0))
        return guesses

    def subsets(self, rollout: Rollout) -> Bool[Tensor, "T B M"]:
        """Draw which models learn from each transition."""
        T, B = rollout.reward.shape
        generator = self.draws.on(rollout.reward.device)
        drawn = torch.rand(T, B, self.config.models, generator=generator, device=rollout.reward.device)
        kept: Tensor = drawn < self.config.keep
        return kept

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Score T transitions. The context tells which models learn from them, so that a transition kept from a model
        is kept from it in all epochs.
        """
        phi = self.embed(rollout)
        generator = self.draws.on(rollout.reward.device)
        before = generator.get_state()
        kept = self.subsets(rollout)
        generator.set_state(before)  # scoring changes nothing
        return Scored(disagreement(self.guesses(phi, rollout)), (), Context(phi, kept))

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Move the generator past the numbers that scoring used."""
        self.subsets(rollout)

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return each model's error [M, T, B] and its subset of the transitions."""
        assert isinstance(scored.context, Context)
        phi, kept = scored.context
        guesses = self.guesses(phi, rollout)
        error = (guesses - phi[1:]).square().mean(-1)
        valid = rollout.valid
        mean = guesses.detach().mean(0)
        self.metrics = {
            "forward_error": average(error.detach().mean(0), valid),
            "ensemble_error": average((mean - phi[1:]).square().mean(-1), valid),
            "change": average((phi[:-1] - phi[1:]).square().mean(-1), valid),
        }
        return error, valid & kept.movedim(-1, 0)
