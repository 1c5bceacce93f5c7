"""First visits of the map's cells, from the environment's own account: an oracle that no fair agent has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from .parts.episodes import Episode, compared, empty, remember
from .parts.hashing import Counts, episodic_counts
from .parts.keys import first_visits, longest

CELL_BITS = 14
"""Cells are told apart up to 2^14 a task."""


@dataclass(frozen=True)
class CoverageConfig(IntrinsicConfig):
    """First visits of the map's cells (privileged: an upper bound for what explores)."""

    span: Literal["episode", "life"] = "episode"
    """Since when a visit is the first: episode (per environment), or life (of all environments, since training
    began)."""


class Coverage(IntrinsicReward):
    """1 where o[t + 1] is the first observation in its cell of its task, in this episode or in training; otherwise 0.

    Reads ``info["cell"]``, which the agent does not see. A cell in which an episode begins is visited, and pays
    nothing.
    """

    needs = ("cell",)
    Config = CoverageConfig
    paper = "first visits of cells, privileged: the oracle that counts approximate"
    over = "episode or life"
    place: Tensor

    def __init__(self, config: CoverageConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.size = longest(spec)
        self.register_buffer("place", torch.zeros((), dtype=torch.int64), persistent=False)  # says where memories lie
        if config.span == "life":
            self.counts = Counts(CELL_BITS + (len(spec.tasks) - 1).bit_length())

    def initial_state(self, batch: int) -> State:
        """Return memories of nothing: the cells of an episode."""
        return empty(batch, self.size, self.place) if self.config.span == "episode" else ()

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions; over a life, the context keeps the cells [T + 1, B]."""
        cells = numbered_cells(rollout)
        if self.config.span == "episode":
            assert isinstance(state, Episode)
            number = compared(episodic_counts, state, cells, rollout.first)[1:]
            self.metrics = first_visits(number, rollout)
            return Scored((number == 1).float(), remember(state, cells, rollout.first))
        number = self.counts(cells, torch.ones_like(rollout.first))[1:]
        self.metrics = first_visits(number, rollout) | {"cells": (self.counts.table > 0).sum().float()}
        return Scored((number == 1).float(), (), cells)

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Note the cells of all rows, those in which episodes begin included."""
        if self.config.span == "life":
            assert isinstance(scored.context, Tensor)
            self.counts.observe(scored.context, torch.ones_like(rollout.first))


def numbered_cells(rollout: Rollout) -> Tensor:
    """Return numbers of the cells of all tasks [T + 1, B]. ValueError if the environment does not tell its cells."""
    if "cell" not in rollout.info:
        raise ValueError(
            "coverage needs an environment that tells which cell the agent is in: choose one of minigrid or labyrinth, "
            "or count what the agent sees, with --intrinsic.episodic-count or --intrinsic.count"
        )
    return rollout.info["cell"].long() + (rollout.task << CELL_BITS)
