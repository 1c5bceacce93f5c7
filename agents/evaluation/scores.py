"""What evaluations came to, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .statistics import RESAMPLES, Floats, bootstrap_means, interval, normalised


@dataclass(frozen=True)
class Evaluation:
    """N whole episodes, those of an environment in a row."""

    returns: Floats  # [N], undiscounted
    lengths: NDArray[np.int64]  # [N] steps
    terminated: NDArray[np.bool_]  # [N], ended by the task, not by a time limit
    successes: NDArray[np.bool_]  # [N], terminated on a positive reward: where its task has a goal, reached it
    task: NDArray[np.int64]  # [N], index into tasks
    tasks: tuple[str, ...]
    goals: tuple[bool, ...] = ()  # which of the tasks have one; (): none

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean return."""
        return interval(self.resampled())

    @property
    def episodes(self) -> int:
        """N."""
        return len(self.returns)

    def resampled(self, seed: int = 0) -> Floats:
        """Bootstrap samples of the mean return."""
        return bootstrap_means(self.returns, seed=seed)

    @property
    def success(self) -> float | None:
        """Share of episodes that reached their goal; None if a task that was played has none."""
        defined = bool(self.goals) and all(self.goals[k] for k in set(self.task.tolist()))
        return float(self.successes.mean()) if defined else None

    def by_task(self) -> dict[str, Evaluation]:
        """The episodes of each task that was played."""
        chosen = {name: self.task == k for k, name in enumerate(self.tasks)}
        return {name: self._where(mask) for name, mask in chosen.items() if mask.any()}

    def _where(self, mask: NDArray[np.bool_]) -> Evaluation:
        return Evaluation(
            returns=self.returns[mask],
            lengths=self.lengths[mask],
            terminated=self.terminated[mask],
            successes=self.successes[mask],
            task=self.task[mask],
            tasks=self.tasks,
            goals=self.goals,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what the table shows, and every episode."""
        low, high = self.interval
        return {
            "mean": self.mean,
            "low": low,
            "high": high,
            "episodes": self.episodes,
            "mean_length": float(self.lengths.mean()),
            "terminated": float(self.terminated.mean()),
            **({} if self.success is None else {"success": self.success}),
            "returns": self.returns.tolist(),
            "lengths": self.lengths.tolist(),
            "task": [self.tasks[k] for k in self.task],
        }


@dataclass(frozen=True)
class Recorded:
    """A score that was measured before: a mean return, its 95 % interval, over how many episodes; that of
    each task if there are several.
    """

    mean: float
    low: float
    high: float
    episodes: int
    parts: Mapping[str, Recorded] = field(default_factory=dict)

    @classmethod
    def mixture(cls, parts: Mapping[str, Recorded]) -> Recorded:
        """The score where every task is played as often as the others."""
        half = math.sqrt(sum((p.high - p.low) ** 2 for p in parts.values())) / 2 / len(parts)
        mean = sum(p.mean for p in parts.values()) / len(parts)
        return cls(mean, mean - half, mean + half, sum(p.episodes for p in parts.values()), parts)

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    def resampled(self, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
        """Normal samples of the mean return."""
        sample: Floats = np.random.default_rng(seed).normal(self.mean, (self.high - self.low) / 3.92, resamples)
        return sample

    def by_task(self) -> Mapping[str, Recorded]:
        """Of each task."""
        return self.parts

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "episodes": self.episodes, "recorded": True}


Score = Evaluation | Recorded


def normalised_score(agent: Score, random: Score, oracle: Score) -> tuple[float, float, float]:
    """Return the normalised mean return, averaged over the tasks that all three played if there are several, and its
    95 % interval; all that went into it is resampled.
    """
    groups = list(together(agent, random, oracle).values()) or [[agent, random, oracle]]
    score = np.mean([normalised(*(np.array(s.mean) for s in group)) for group in groups])
    resampled = [normalised(*(s.resampled(3 * k + i) for i, s in enumerate(g))) for k, g in enumerate(groups)]
    means = np.mean(resampled, axis=0)
    means = means[np.isfinite(means)]
    return float(score), *(interval(means) if len(means) else (math.nan, math.nan))


def together(*scores: Score) -> dict[str, list[Score]]:
    """Return the parts of several scores by task, of the tasks that each of them played; empty if there is one task."""
    parts = [score.by_task() for score in scores]
    several = any(len(part) > 1 for part in parts)
    return {k: [part[k] for part in parts] for k in parts[0] if several and all(k in part for part in parts)}


def as_dict(scores: Mapping[str, Score]) -> dict[str, Any]:
    """``evaluation.json``: every policy's scores, and the agent's normalised one, over all and by task."""
    data: dict[str, Any] = {name: score.as_dict() for name, score in scores.items()}
    if {"agent", "random", "oracle"} <= scores.keys():
        three = [scores[name] for name in ("agent", "random", "oracle")]
        groups = {"all": three} | together(*three)
        ratios = {name: normalised_score(*group) for name, group in groups.items()}
        data["normalised"] = {
            name: dict(zip(("mean", "low", "high"), ratio, strict=True))
            for name, ratio in ratios.items()
            if not math.isnan(ratio[0])
        }
    return data
