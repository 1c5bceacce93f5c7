"""Scores of evaluations, with their uncertainty."""

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
    """N whole episodes; those of one environment are consecutive."""

    returns: Floats  # [N], undiscounted
    lengths: NDArray[np.int64]  # [N] steps
    terminated: NDArray[np.bool_]  # [N], ended by the task, not by a time limit
    successes: NDArray[np.bool_]  # [N], terminated with a positive reward: reached the goal, if the task has one
    task: NDArray[np.int64]  # [N], index into tasks
    tasks: tuple[str, ...]
    goals: tuple[bool, ...] = ()  # whether each task has a goal; (): none has

    @property
    def mean(self) -> float:
        """Return the mean return."""
        return float(self.returns.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the mean return."""
        return interval(self.resampled())

    @property
    def episodes(self) -> int:
        """Return N."""
        return len(self.returns)

    def resampled(self, seed: int = 0) -> Floats:
        """Return bootstrap samples of the mean return."""
        return bootstrap_means(self.returns, seed=seed)

    @property
    def success(self) -> float | None:
        """Return the fraction of episodes that reached their goal; None if a task that was played has no goal."""
        defined = bool(self.goals) and all(self.goals[k] for k in set(self.task.tolist()))
        return float(self.successes.mean()) if defined else None

    def by_task(self) -> dict[str, Evaluation]:
        """Return the episodes of each task that was played."""
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
        """Return plain data for JSON: the contents of the table, and every episode."""
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
    """A previously measured score: mean return, its 95 % interval, and number of episodes; also per task if there are
    several.
    """

    mean: float
    low: float
    high: float
    episodes: int
    parts: Mapping[str, Recorded] = field(default_factory=dict)

    @classmethod
    def mixture(cls, parts: Mapping[str, Recorded]) -> Recorded:
        """Combine tasks into one score in which every task is played equally often."""
        half = math.sqrt(sum((p.high - p.low) ** 2 for p in parts.values())) / 2 / len(parts)
        mean = sum(p.mean for p in parts.values()) / len(parts)
        return cls(mean, mean - half, mean + half, sum(p.episodes for p in parts.values()), parts)

    @property
    def interval(self) -> tuple[float, float]:
        """Return (low, high)."""
        return self.low, self.high

    def resampled(self, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
        """Return normal samples of the mean return."""
        sample: Floats = np.random.default_rng(seed).normal(self.mean, (self.high - self.low) / 3.92, resamples)
        return sample

    def by_task(self) -> Mapping[str, Recorded]:
        """Return the score of each task."""
        return self.parts

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "episodes": self.episodes, "recorded": True}


Score = Evaluation | Recorded


def normalised_score(agent: Score, random: Score, oracle: Score) -> tuple[float, float, float]:
    """Return the normalised mean return and its 95 % interval, for which all scores involved are resampled. If there
    are several tasks, it is averaged over those that all three policies played.
    """
    groups = list(together(agent, random, oracle).values()) or [[agent, random, oracle]]
    score = np.mean([normalised(*(np.array(s.mean) for s in group)) for group in groups])
    resampled = [normalised(*(s.resampled(3 * k + i) for i, s in enumerate(g))) for k, g in enumerate(groups)]
    means = np.mean(resampled, axis=0)
    means = means[np.isfinite(means)]
    return float(score), *(interval(means) if len(means) else (math.nan, math.nan))


def together(*scores: Score) -> dict[str, list[Score]]:
    """Return several scores by task, restricted to the tasks that all of them played; empty if that is one task."""
    parts = [score.by_task() for score in scores]
    several = any(len(part) > 1 for part in parts)
    return {k: [part[k] for part in parts] for k in parts[0] if several and all(k in part for part in parts)}


def as_dict(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Return the contents of ``evaluation.json``: every policy's scores, and the agent's normalised one, overall and by
    task.
    """
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
