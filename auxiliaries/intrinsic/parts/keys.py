"""What counts as the same observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor

from ....envs.experience import Rollout, Spec
from ...base import IntrinsicConfig
from ...pooling import Metric
from ...reduction import average
from .episodes import Episode, compared, empty, remember
from .hashing import Hash, episodic_counts, mixed

LONGEST = 4096
"""Steps of an episode that are remembered where episodes have no limit."""


@dataclass(frozen=True)
class KeyConfig(IntrinsicConfig):
    """Settings of rewards that count visits."""

    key: Literal["view", "cell"] = "view"
    """What is counted: view (a hash of what the agent sees) or cell (the cell of the map it is in: privileged)."""
    side: Annotated[int, Meta(ge=1, le=256)] | None = None
    """Images are averaged down to at least this many pixels a side before they are compared; 1 is the mean of an
    image. By default it is 1 for colour images and 8 for grey ones."""
    levels: Annotated[int, Meta(ge=2, le=256)] | None = None
    """Levels of each channel that are told apart in them (default: 16 of colours, 8 of grey)."""


class Key(torch.nn.Module):
    """What counts as the same observation, as a number of 64 bits per row."""

    def __init__(self, config: KeyConfig, spec: Spec) -> None:
        super().__init__()
        self.cell = config.key == "cell"
        self.needs = ("cell",) if self.cell else ()
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


def longest(spec: Spec) -> int:
    """Return how many observations of an episode are remembered."""
    return spec.max_steps + 1 if spec.max_steps else LONGEST


def first_visits(number: Tensor, rollout: Rollout) -> dict[str, Metric]:
    """Compute the share of transitions that arrive somewhere for the first time."""
    return {"first_visits": average((number == 1).float(), rollout.valid)}


class Visits(torch.nn.Module):
    """Counts how often the observation arrived at has been made in its episode, whose keys are its memory."""

    def __init__(self, config: KeyConfig, spec: Spec) -> None:
        super().__init__()
        self.key = Key(config, spec)
        self.needs = self.key.needs
        self.size = longest(spec)

    def initial_state(self, batch: int) -> Episode:
        """Return memories of nothing."""
        return empty(batch, self.size, self.key.hash.like)

    def forward(self, rollout: Rollout, memory: Episode) -> tuple[Tensor, Episode]:
        """Return the number of visits to o[t + 1], this one included [T, B], and the memory after the rollout."""
        keys = self.key(rollout)
        number = compared(episodic_counts, memory, keys, rollout.first)[1:]
        return number, remember(memory, keys, rollout.first)
