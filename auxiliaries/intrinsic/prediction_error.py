"""The error of predicting what comes next (Burda et al., "Large-scale study of curiosity-driven learning", 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..pooling import Commonest, Metric
from ..reduction import average
from .parts.autoencoder import Autoencoder
from .parts.dynamics import InverseModel, ResidualModels
from .parts.networks import Embedding, random_features
from .parts.view import View, Views
from .parts.whitening import Whitening


@dataclass(frozen=True)
class PredictionErrorConfig(IntrinsicConfig):
    """Prediction error: the error of predicting the next observation from this one and the action."""

    features: Literal["pixels", "random", "vae", "inverse"] = "random"
    """What is predicted: pixels, features of a fixed random network, codes of a variational autoencoder (vae), or
    features from which the action can be told (inverse)."""
    size: Annotated[int, Meta(ge=1, le=2**16)] = 512
    """Number of features, other than pixels."""
    hidden: Annotated[int, Meta(ge=1, le=2**16)] = 512
    """Width of the forward model's layers."""
    blocks: Annotated[int, Meta(ge=0, le=64)] = 4
    """Residual blocks of the forward model, of two layers each."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side (the paper: 84)."""
    warmup_steps: Annotated[int, Meta(ge=1)] = 4096
    """Steps at the beginning, without this reward, whose observations set the statistics that whiten all later ones
    (the paper: 10,000)."""


def mean_squared_error(guess: Float[Tensor, "*rows D"], target: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows"]:
    """Compute ``1/D |guess - target|^2``, minus the logarithm of a Gaussian density up to constants."""
    return (guess - target).square().mean(-1)


class PredictionError(IntrinsicReward):
    """``mean (f(phi[t], a[t]) - phi[t + 1])^2`` in features phi, which the forward model f never trains.

    Lifelong: what is predictable fades. Noise stays unpredictable and attracts, unless phi ignores it (inverse).
    """

    Config = PredictionErrorConfig
    paper = "error of predicting the next observation's features (Burda et al. 2018, large-scale study)"
    over = "life"
    trains = "a forward model"

    def __init__(self, config: PredictionErrorConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view, self.kind, size = View(spec, config.side), config.features, config.size
        self.whitening = Whitening(self.view.shapes)
        self.embedding: nn.Module
        if self.kind == "pixels":
            size = sum(math.prod(shape) for shape in self.view.shapes.values())
            self.embedding = nn.Identity()
        elif self.kind == "random":
            self.embedding = random_features(self.view, size)
        elif self.kind == "vae":
            self.embedding = Autoencoder(self.view, size)
        else:
            self.embedding = Embedding(self.view, (size,), partial(nn.LeakyReLU, 0.2))
            self.inverse = InverseModel(size, spec.num_actions, config.hidden)
        self.dynamics = ResidualModels(1, size, spec.num_actions, config.hidden, config.blocks)

    def warm_up(self, rollout: Rollout) -> None:
        """Set the whitening's statistics. They do not change later: fixed features have to stay fixed."""
        self.whitening.update(self.view({name: x[1:] for name, x in rollout.observation.items()}))

    def pixels(self, rollout: Rollout) -> Tensor:
        """Return pixels in [0, 1] (codes of small grids in tenths) and vectors as they are [T + 1, B, values]."""
        views = self.view(rollout.observation)
        scale = 10.0 if self.view.small("image") else 255.0
        parts = [x.flatten(1) / (scale if name == "image" else 1.0) for name, x in views.items()]
        return torch.cat(parts, -1).view(*rollout.first.shape, -1)

    def whitened(self, rollout: Rollout) -> Views:
        """Return whitened views of the (T + 1) B observations."""
        views: Views = self.whitening(self.view(rollout.observation))
        return views

    def embed(self, rollout: Rollout) -> Tensor:
        """Return the features phi [T + 1, B, D], without gradient."""
        if self.kind == "pixels":
            return self.pixels(rollout)
        with torch.no_grad():
            views = self.whitened(rollout)
            phi = (
                self.embedding.posterior(views)[0] if isinstance(self.embedding, Autoencoder) else self.embedding(views)
            )
        found: Tensor = phi.view(*rollout.first.shape, -1)
        return found

    def error(self, phi: Tensor, rollout: Rollout) -> Tensor:
        """Return the forward model's error [T, B]. It predicts features, and the change of pixels: as in the paper's
        U-Net, what stays the same need not pass through its narrow layers.
        """
        guess = self.dynamics(phi[:-1], torch.where(rollout.valid, rollout.action, 0)).squeeze(0)
        return mean_squared_error(phi[:-1] + guess if self.kind == "pixels" else guess, phi[1:])

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Score T transitions; the context keeps features that nothing trains, [T + 1, B, D]."""
        with self.precision(rollout.reward.device):
            phi = self.embed(rollout)
            return Scored(self.error(phi, rollout), (), phi if self.kind == "random" else ())

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the forward model's error and, if features are learnt, their own loss beside it: [1 or 2, T, B]."""
        valid = rollout.valid
        learnt: list[Tensor] = []
        metrics: dict[str, Metric] = {}
        with self.precision(rollout.reward.device):
            if self.kind == "vae":
                phi, learnt, metrics = self.coding(rollout)
            elif self.kind == "inverse":
                phi, learnt, metrics = self.telling(rollout)
            else:
                phi = self.pixels(rollout) if self.kind == "pixels" else scored.context
            phi = phi.detach()
            error = self.error(phi, rollout)
        self.metrics = metrics | {
            "forward_error": average(error.detach(), valid),
            "change": average(mean_squared_error(phi[:-1], phi[1:]), valid),
        }
        # An autoencoder also learns rows that no transition leads to.
        masks = [valid] + [torch.ones_like(valid) if self.kind == "vae" else valid for _ in learnt]
        return torch.stack([error, *learnt]), torch.stack(masks)

    def coding(self, rollout: Rollout) -> tuple[Tensor, list[Tensor], dict[str, Metric]]:
        """Return the autoencoder's mean codes [T + 1, B, D], its loss [T, B] on rows 1 to T, and metrics."""
        assert isinstance(self.embedding, Autoencoder)
        views = self.whitened(rollout)
        mean, log_variance = self.embedding.posterior(views)
        skipped = rollout.first.shape[1]  # row 0
        rows = {name: x[skipped:] for name, x in views.items()}
        costs = self.embedding.costs(rows, mean[skipped:], log_variance[skipped:])
        told, kl = (x.view_as(rollout.reward) for x in costs)
        everything = torch.ones_like(rollout.valid)
        metrics: dict[str, Metric] = {
            "reconstruction": average(told.detach(), everything),
            "kl": average(kl.detach(), everything),
        }
        return mean.view(*rollout.first.shape, -1), [told + kl], metrics

    def telling(self, rollout: Rollout) -> tuple[Tensor, list[Tensor], dict[str, Metric]]:
        """Return features phi [T + 1, B, D], the inverse model's loss [T, B] in nats, and metrics."""
        valid = rollout.valid
        phi = self.embedding(self.whitened(rollout)).view(*rollout.first.shape, -1)
        action = torch.where(valid, rollout.action, 0)
        logits = self.inverse(phi[:-1], phi[1:])
        loss = F.cross_entropy(logits.flatten(0, 1), action.flatten(), reduction="none").view_as(rollout.reward)
        metrics: dict[str, Metric] = {
            "accuracy": average((logits.detach().argmax(-1) == action).float(), valid),
            "chance": Commonest.of(one_hot(action, logits.shape[-1]), valid),
        }
        return phi, [loss], metrics
