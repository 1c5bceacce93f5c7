"""Counts of what was seen, over the whole life and in the current episode: 1 / sqrt(N) (Strehl & Littman 2008)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..pooling import Metric
from ..reduction import average
from .parts.episodes import Episode, empty, recall, remember
from .parts.hashing import Counts, Hash, episodic_counts, mixed

LONGEST = 4096
"""Steps of an episode that are remembered where episodes have no limit."""


@dataclass(frozen=True)
class CountConfig(IntrinsicConfig):
    """Counts over the whole life: 1 / sqrt(N) of the observation arrived at."""

    key: Literal["view", "cell"] = "view"
    """What is counted: view (a hash of what the agent sees) or cell (the cell of the map it is in: privileged)."""
    side: Annotated[int, Meta(ge=1, le=256)] = 8
    """Images are averaged down to at least this many pixels a side before they are compared."""
    levels: Annotated[int, Meta(ge=2, le=256)] = 8
    """Grey levels that are told apart in them."""


@dataclass(frozen=True)
class LifelongConfig(CountConfig):
    """Counts over the whole life: 1 / sqrt(N) of the observation arrived at."""

    bits: Annotated[int, Meta(ge=1, le=28)] = 20
    """Base-2 logarithm of the number of counters; different observations share one by chance."""


class Key(torch.nn.Module):
    """What counts as the same observation, as a number of 64 bits per row."""

    def __init__(self, config: CountConfig, spec: Spec) -> None:
        super().__init__()
        self.cell = config.key == "cell"
        self.hash = Hash(spec, config.side, config.levels)

    def forward(self, rollout: Rollout) -> Tensor:
        """Return the keys [T + 1, B]. ValueError if the environment does not tell its cells."""
        if not self.cell:
            hashes: Tensor = self.hash(rollout.observation)
            return hashes
        if "cell" not in rollout.info:
            raise ValueError(
                "this environment does not tell which cell the agent is in: leave --intrinsic.*.key at view"
            )
        return mixed(rollout.info["cell"].long() + 1 + (rollout.task << 32))


class Count(IntrinsicReward):
    """``1 / sqrt(N(o[t + 1]))``, N over all environments since the beginning of training, this visit included."""

    Config = LifelongConfig
    paper = "one over the root of lifelong visits (Strehl & Littman 2008; hashed: Tang et al. 2017)"

    def __init__(self, config: LifelongConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.key, self.counts = Key(config, spec), Counts(config.bits)

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
    """``1 / sqrt(N(o[t + 1]))``, N in the current episode, this visit included."""

    Config = CountConfig
    paper = "one over the root of visits in the episode (the episodic term of RIDE, Raileanu & Rocktäschel 2020)"

    def __init__(self, config: CountConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.key = Key(config, spec)
        self.size = spec.max_steps + 1 if spec.max_steps else LONGEST

    def initial_state(self, batch: int) -> State:
        """Return memories of nothing: the keys of an episode."""
        return empty(batch, self.size, self.key.hash.like)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions."""
        assert isinstance(state, Episode)
        keys = self.key(rollout)
        number = episodic_counts(keys, recall(state, keys, rollout.first))[1:]
        self.metrics = first_visits(number, rollout)
        return Scored(number.float().rsqrt(), remember(state, keys, rollout.first))


def first_visits(number: Tensor, rollout: Rollout) -> dict[str, Metric]:
    """Compute the share of transitions that arrive somewhere for the first time."""
    return {"first_visits": average((number == 1).float(), rollout.valid)}
