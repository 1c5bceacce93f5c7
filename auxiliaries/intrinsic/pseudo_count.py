"""Pseudo-counts and prediction gain from a density of what the agent sees (Bellemare et al., "Unifying count-based
exploration and intrinsic motivation", 2016; Ostrovski et al., "Count-based exploration with neural density models",
2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicReward, Scored
from ..reduction import average
from .parts.densities import DensityConfig, Learnt
from .parts.switching import density_of
from .parts.symbols import Symbols

NETWORK_GAIN = 0.1
"""Factor c of a network's gain (Ostrovski et al. 2017): its gain does not fall with time as a count's does."""
UNSEEN = 0.01
"""Added to a pseudo-count, so that the bonus is at most 10 (Bellemare et al. 2016)."""


@dataclass(frozen=True)
class PseudoCountConfig(DensityConfig):
    """Pseudo-counts: how much a density of what the agent sees learns from seeing it once more."""

    gain: Literal["count", "prediction"] = "count"
    """Reward: count (one over the root of the pseudo-count) or prediction (the gain in log-probability, in nats)."""
    episodic: bool = True
    """End this reward's return where an episode ends (as in the papers); otherwise it continues across resets."""


def prediction_gain(before: Float[Tensor, "*N"], after: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Compute ``max(log rho' - log rho, 0)`` from log-probabilities of a view before and after it was learnt."""
    return (after - before).clamp(min=0)


def pseudo_count(gain: Float[Tensor, "*N"], after: Float[Tensor, "*N"] | float) -> Float[Tensor, "*N"]:
    """Compute ``N = rho (1 - rho') / (rho' - rho)`` as ``(1 - rho') / (e^gain - 1)``, with ``after`` = log rho'.

    In log space: rho itself, the probability of a whole image, underflows. Infinite where nothing was gained.
    """
    unlikely = -math.expm1(after) if isinstance(after, float) else -torch.expm1(after)
    return torch.where(gain > 0, unlikely / torch.expm1(gain), torch.inf)


def count_bonus(count: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Compute ``(N + 0.01)^(-1/2)``."""
    return (count + UNSEEN).rsqrt()


def network_count(gain: Float[Tensor, "*#N"], views: Int[Tensor, "*#N"]) -> Float[Tensor, "*#N"]:
    """Compute ``1 / (exp(c gain / sqrt(views)) - 1)``, the pseudo-count of a network that has learnt so many views
    (Ostrovski et al. 2017, section 4).
    """
    return pseudo_count(NETWORK_GAIN * gain / views.double().clamp(min=1).sqrt(), -math.inf)


class PseudoCount(IntrinsicReward):
    """``(N + 0.01)^(-1/2)`` or the prediction gain of o[t + 1]; N is what a count would have to be for the density to
    change as much as it does by learning o[t + 1].

    Lifelong, and shared by all environments: views are learnt while they are scored, in the order of time and then of
    environments, on a copy that ``observe`` commits. Context tree switching learns one view at a time, as in the paper;
    the network takes one gradient step per chunk of views (see `PixelDensity`). Noise of low entropy loses its reward,
    as all symbols of a pixel become equally likely; that of many pixels does so slowly, as their gains add up.
    """

    Config = PseudoCountConfig
    paper = "pseudo-counts of a density model (Bellemare et al. 2016; PixelCNN: Ostrovski et al. 2017)"
    over = "life"
    trains = "a density model"
    seen: Tensor

    def __init__(self, config: PseudoCountConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.symbols = Symbols(spec, config.side, "pseudo_count")
        self.density = density_of(config, self.symbols)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def learn(self, rollout: Rollout) -> Learnt:
        """Learn the observations arrived at, on a copy of the density."""
        symbols = self.symbols({"image": rollout.observation["image"][1:]})
        return self.density.learn(symbols, rollout.valid.flatten())

    def keep(self, learnt: State, rollout: Rollout) -> None:
        """Keep what was learnt from a rollout."""
        self.density.commit(learnt)
        self.seen += rollout.valid.sum()

    def warm_up(self, rollout: Rollout) -> None:
        """Learn a rollout without rewarding it."""
        self.keep(self.learn(rollout).state, rollout)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions; the context keeps what the density has learnt."""
        valid = rollout.valid
        before, after, learnt = self.learn(rollout)
        gain = prediction_gain(before, after)
        if self.config.density == "cts":
            count = pseudo_count(gain, after)
        else:
            count = network_count(gain, self.seen + valid.flatten().cumsum(0))
        raw = count_bonus(count) if self.config.gain == "count" else gain
        bits = -before / (math.prod(self.symbols.shape) * math.log(2))
        self.metrics = {
            "bits_per_symbol": average(bits.view_as(valid), valid),
            "prediction_gain": average((after - before).view_as(valid), valid),
            "negative_gain": average((after < before).view_as(valid).float(), valid),
            "novel": average((count < 1).view_as(valid).float(), valid),
        }
        return Scored(raw.float().view_as(rollout.reward), (), learnt)

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Keep what the density has learnt."""
        self.keep(scored.context, rollout)
