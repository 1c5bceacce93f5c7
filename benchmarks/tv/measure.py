"""Curves of intrinsic rewards, each at its default settings, over one and the same scripted behaviour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from torch import Tensor

from ...agents.bonus.bonus import intrinsic
from ...auxiliaries import INTRINSIC_REWARDS
from .rooms import Rooms, Walk


class Signal(NamedTuple):
    """A reward, and the settings by which it differs from its default."""

    reward: str
    settings: Mapping[str, Any]


class Levels(NamedTuple):
    """What a rollout paid, averaged; NaN while the reward only sets statistics."""

    watching: float  # mean before the television
    resting: float  # mean at rest without new noise
    elsewhere: float  # mean elsewhere
    size: float  # mean absolute value elsewhere: the same, but for rewards that may be negative


VARIANTS: dict[str, dict[str, Mapping[str, Any]]] = {
    "prediction_error": {
        f"prediction_error/{kind}": {"features": kind} for kind in ("pixels", "random", "vae", "inverse")
    }
}
"""By reward, the signals that are measured, if that is not its default alone."""
UNKNOWN = Levels(*[math.nan] * 4)


def signals() -> dict[str, Signal]:
    """Return all signals by name: every registered reward, also those of the user."""
    found = {}
    for reward in sorted(INTRINSIC_REWARDS):
        for name, settings in VARIANTS.get(reward, {reward: {}}).items():
            found[name] = Signal(reward, settings)
    return found


def measure(
    television: str, chosen: Mapping[str, Signal], rollouts: int, seed: int, tell: Callable[[str], None]
) -> dict[str, list[Levels]]:
    """Return what each signal pays in each rollout, before any normaliser. It scores the rollout and then learns from
    it, as in training: one update per rollout, by its own optimiser.
    """
    with closing(Rooms(television, seed)) as rooms:
        bonuses = {
            name: intrinsic(signal.reward, rooms.spec, seed=seed, normalise="none", **signal.settings)
            for name, signal in chosen.items()
        }
        found: dict[str, list[Levels]] = {name: [] for name in chosen}
        for done in range(rollouts):
            tell(f"{done / rollouts:.0%}")
            walk = rooms.collect()
            for name, bonus in bonuses.items():
                raw = bonus(walk.image, walk.action, walk.first, info={"cell": walk.cell})
                found[name].append(UNKNOWN if bonus.name in bonus.streams.warming else levels(raw, walk))
    return found


def levels(raw: Tensor, walk: Walk) -> Levels:
    """Return the means of rewards [T, B] by what was done."""
    away = raw[walk.elsewhere]
    return Levels(*(float(x.mean()) for x in (raw[walk.watching], raw[walk.resting], away, away.abs())))


def points(curve: Iterable[Levels], count: int) -> list[Levels]:
    """Average a curve over ``count`` successive parts of about equal length; NaN where nothing was paid yet."""
    rows = list(curve)
    bounds = [round(i * len(rows) / count) for i in range(count + 1)]
    return [_mean(rows[begin:end]) for begin, end in itertools.pairwise(bounds)]


def _mean(rows: list[Levels]) -> Levels:
    there = [row for row in rows if not math.isnan(row.size)]
    return Levels(*(sum(column) / len(there) for column in zip(*there, strict=True))) if there else UNKNOWN
