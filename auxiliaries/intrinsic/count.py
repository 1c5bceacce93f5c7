"""Counts of what was seen, over the whole life and in the current episode: 1 / sqrt(N) (Strehl & Littman 2008)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicReward, Scored
from .parts.hashing import Counts
from .parts.keys import Key, KeyConfig, Visits, first_visits


@dataclass(frozen=True)
class CountConfig(KeyConfig):
    """Counts in the episode: 1 / sqrt(N) of the observation arrived at."""

    once: bool = False
    """Pay 1 for the first visit in the episode and nothing for later ones, as NovelD's gate does."""


@dataclass(frozen=True)
class LifelongConfig(KeyConfig):
    """Counts over the whole life: 1 / sqrt(N) of the observation arrived at."""

    bits: Annotated[int, Meta(ge=1, le=28)] = 20
    """Base-2 logarithm of the number of counters; different observations share one by chance."""


class Count(IntrinsicReward):
    """``1 / sqrt(N(o[t + 1]))``, N over all environments since the beginning of training, this visit included."""

    Config = LifelongConfig
    paper = "one over the root of lifelong visits (Strehl & Littman 2008; hashed: Tang et al. 2017)"
    over = "life"

    def __init__(self, config: LifelongConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.key, self.counts = Key(config, spec), Counts(config.bits)
        self.needs = self.key.needs

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions; the context keeps the keys [T, B]."""
        keys = self.key(rollout)[1:]
        number = self.counts(keys, rollout.valid)
        self.metrics = first_visits(number, rollout)
        return Scored(number.float().rsqrt(), (), keys)

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Count the visits."""
        assert isinstance(scored.context, Tensor)
        self.counts.observe(scored.context, rollout.valid)


class EpisodicCount(IntrinsicReward):
    """``1 / sqrt(N(o[t + 1]))``, N in the current episode, this visit included; with ``once`` 1 where N is 1, else 0.

    Where an agent may stand or turn around, what later visits pay adds up: 150 visits to one place pay as much as first
    visits to 23. With ``once`` they pay as much as one (the gate of NovelD, Zhang et al. 2021, equation 3).
    """

    Config = CountConfig
    paper = "one over the root of visits in the episode (the episodic term of RIDE, Raileanu & Rocktäschel 2020)"
    over = "episode"

    def __init__(self, config: CountConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.once = config.once
        self.visits = Visits(config, spec)
        self.needs = self.visits.needs

    def initial_state(self, batch: int) -> State:
        """Return memories of nothing: the keys of an episode."""
        return self.visits.initial_state(batch)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions."""
        number, memory = self.visits(rollout, state)
        self.metrics = first_visits(number, rollout)
        bonus = (number == 1).float() if self.once else number.float().rsqrt()
        return Scored(bonus, memory)
