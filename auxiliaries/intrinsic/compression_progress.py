"""Compression progress (Schmidhuber, "Driven by compression progress", 2008)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Bool, Float
from msgspec import Meta
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicReward, Scored
from ..reduction import average
from .parts.densities import DensityConfig
from .parts.switching import density_of
from .parts.symbols import Symbols


@dataclass(frozen=True)
class CompressionProgressConfig(DensityConfig):
    """Compression progress: the bits by which learning shortens the code of the history."""

    history: Annotated[int, Meta(ge=1, le=2**20)] = 1024
    """Earlier views that are coded anew after each rollout, together with it; the newest are kept."""
    warmup_steps: Annotated[int, Meta(ge=0)] = 4096
    """Steps at the beginning, without this reward, in which the model learns what all views share: thousands of bits,
    by which all that follows would be divided."""


class History(NamedTuple):
    """The newest M views, oldest first; unused places come first."""

    views: Tensor  # [M, h, w, c] uint8
    log_prob: Float[Tensor, " M"]  # under the present model
    filled: Bool[Tensor, " M"]


def credited(own: Float[Tensor, " N"], past: Float[Tensor, ""], valid: Bool[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Divide the saving in the code of a history among its N newest transitions: each gets its ``own`` part, and an
    equal share of the ``past``'s. Over the ``valid`` ones it adds up to the saving in the whole history (equation 4:
    C(p(t), h(<= t + 1)) - C(p(t + 1), h(<= t + 1))), negative where the past was forgotten.
    """
    return own + past / valid.sum().clamp(min=1)


def joined(history: History, newer: History) -> History:
    """Return the newest filled entries of both, as many as ``history`` has."""
    both = History(*(torch.cat(pair) for pair in zip(history, newer, strict=True)))
    newest = both.filled.byte().argsort(stable=True)[-len(history.filled) :]
    return History(*(x[newest] for x in both))


class CompressionProgress(IntrinsicReward):
    """The bits saved in coding one and the same history, the rollout included, by the model that has learnt the rollout
    instead of the one before it.

    Each transition is credited with the saving in its own o[t + 1], which is coded twice, by both models. Nothing is
    saved where all is known, nor, once the frequencies of its symbols are learnt, in noise. ``score`` learns on a copy
    that ``observe`` commits. The code is that of a density: context tree switching, which learns view by view; or the
    network, which takes one gradient step per chunk of views (see `PixelDensity`) and rewards memorising them too.
    """

    Config = CompressionProgressConfig
    paper = "bits that learning saves in coding the history (Schmidhuber 2008)"
    over = "life"
    trains = "a density model"
    views: Tensor
    log_prob: Tensor
    filled: Tensor

    def __init__(self, config: CompressionProgressConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.symbols = Symbols(spec, config.side, "compression_progress")
        self.density = density_of(config, self.symbols)
        size = config.history
        self.register_buffer("views", torch.zeros(size, *self.symbols.shape, dtype=torch.uint8))
        self.register_buffer("log_prob", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("filled", torch.zeros(size, dtype=torch.bool))

    def warm_up(self, rollout: Rollout) -> None:
        """Learn the rollout and keep its views."""
        self.keep(self.progress(rollout))

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions; the context keeps what the density has learnt, and the history in its code."""
        return self.progress(rollout)

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Keep what the density has learnt, and the history."""
        self.keep(scored)

    def progress(self, rollout: Rollout) -> Scored:
        """Learn a copy of the density, and code the history by both."""
        valid = rollout.valid
        flat = valid.flatten()
        symbols = self.symbols({"image": rollout.observation["image"][1:]})
        _, _, learnt = self.density.learn(symbols, flat)
        before = self.density.log_prob(symbols)
        after = self.density.log_prob(symbols, learnt)
        again = self.density.log_prob(self.views, learnt)
        own = (after - before) / math.log(2)
        past = torch.where(self.filled, (again - self.log_prob) / math.log(2), 0.0)
        raw = credited(own, past.sum(), flat)
        self.metrics = {
            "bits_per_symbol": average((-before / (math.prod(self.symbols.shape) * math.log(2))).view_as(valid), valid),
            "own_saving": average(own.view_as(valid), valid),
            "past_saving": average(past, self.filled),
            "filled": self.filled.float().mean(),
        }
        history = joined(History(self.views, again, self.filled), History(symbols, after, flat))
        return Scored(raw.float().view_as(rollout.reward), (), (learnt, history))

    def keep(self, scored: Scored) -> None:
        """Keep what was learnt, and the history."""
        assert isinstance(scored.context, tuple)
        learnt, history = scored.context
        self.density.commit(learnt)
        for mine, new in zip((self.views, self.log_prob, self.filled), history, strict=True):
            mine.copy_(new)
