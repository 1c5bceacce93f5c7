"""What evaluations came to, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

Floats = NDArray[np.float64]
RESAMPLES = 5_000


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


def bootstrap_means(x: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """[resamples] means of samples of ``x`` [N] with replacement, the size of ``x`` (Efron 1979)."""
    rng = np.random.default_rng(seed)
    chunk = max(1, 1_000_000 // len(x))
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    return np.concatenate([x[rng.integers(len(x), size=(size, len(x)))].mean(1) for size in sizes])


def interval(samples: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval that holds ``confidence`` of the samples."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def normalised(agent: Floats, random: Floats, oracle: Floats) -> Floats:
    """(agent - random) / (oracle - random): 0 plays like chance, 1 like the oracle. NaN where those two are
    equal.
    """
    agent, random, oracle = np.broadcast_arrays(agent, random, oracle)
    room = oracle - random
    score: Floats = np.divide(agent - random, room, out=np.full(room.shape, np.nan), where=room != 0)
    return score


def normalised_score(agent: Score, random: Score, oracle: Score) -> tuple[float, float, float]:
    """Return the normalised mean return, averaged over the tasks that all three played if there are several, and its
    95 % interval; all that went into it is resampled.
    """
    groups = list(_together(agent, random, oracle).values()) or [[agent, random, oracle]]
    score = np.mean([normalised(*(np.array(s.mean) for s in group)) for group in groups])
    resampled = [normalised(*(s.resampled(3 * k + i) for i, s in enumerate(g))) for k, g in enumerate(groups)]
    means = np.mean(resampled, axis=0)
    means = means[np.isfinite(means)]
    return float(score), *(interval(means) if len(means) else (math.nan, math.nan))


def _together(*scores: Score) -> dict[str, list[Score]]:
    """Return the parts of several scores by task, of the tasks that each of them played; empty if there is one task."""
    parts = [score.by_task() for score in scores]
    several = any(len(part) > 1 for part in parts)
    return {k: [part[k] for part in parts] for k in parts[0] if several and all(k in part for part in parts)}


def scores_table(scores: Mapping[str, Score], title: str = "") -> Table:
    """A row for each policy of ``scores`` ("agent", "random", "oracle", ...), the agent's tasks below it, and
    the normalised score where random and oracle are there to measure it by.
    """
    reference = (scores["random"], scores["oracle"]) if {"random", "oracle"} <= scores.keys() else None
    recorded = any(isinstance(score, Recorded) for score in scores.values())
    shown = Table(title=title or None, title_justify="left", title_style="bold", header_style="dim", box=None)
    shown.padding = (0, 2, 0, 0)
    shown.caption, shown.caption_justify = "* as recorded for this environment" if recorded else None, "left"
    shown.add_column("", no_wrap=True)
    goals = any(isinstance(score, Evaluation) and any(score.goals) for score in scores.values())
    names = ["return (95 %)", "episodes", "steps"] + ["success"] * goals + ["normalised (95 %)"] * bool(reference)
    for name in names:
        shown.add_column(name, justify="right", no_wrap=True)
    for name, score in scores.items():
        others = reference if name not in ("random", "oracle") else None
        label = f"{name}*" if isinstance(score, Recorded) else name
        shown.add_row(label, *map(Text, _cells(score, goals, others)), style="bold" if others else None)
        tasks = score.by_task()
        if others and len(tasks) > 1:
            measured = _together(score, *others)
            for task, part in tasks.items():
                by = (measured[task][1], measured[task][2]) if task in measured else None
                shown.add_row(f"  {task}", *map(Text, _cells(part, goals, by)))
    return shown


def _cells(score: Score, goals: bool, reference: tuple[Score, Score] | None) -> list[str]:
    cells = [_with_interval(score.mean, *score.interval) if score.episodes > 1 else f"{score.mean:.2f}"]
    cells.append(f"{score.episodes:,}")
    cells.append(f"{score.lengths.mean():,.0f}" if isinstance(score, Evaluation) else "-")
    success = score.success if isinstance(score, Evaluation) else None
    cells += ["-" if success is None else f"{success:.0%}"] * goals
    if reference is not None:
        ratio = normalised_score(score, *reference)
        cells.append("-" if math.isnan(ratio[0]) else _with_interval(*ratio))
    return cells


def _with_interval(x: float, low: float, high: float) -> str:
    decimals = 2 if max(abs(low), abs(high)) < 100 else 1
    return f"{x:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def as_dict(scores: Mapping[str, Score]) -> dict[str, Any]:
    """``evaluation.json``: every policy's scores, and the agent's normalised one, over all and by task."""
    data: dict[str, Any] = {name: score.as_dict() for name, score in scores.items()}
    if {"agent", "random", "oracle"} <= scores.keys():
        three = [scores[name] for name in ("agent", "random", "oracle")]
        groups = {"all": three} | _together(*three)
        ratios = {name: normalised_score(*group) for name, group in groups.items()}
        data["normalised"] = {
            name: dict(zip(("mean", "low", "high"), ratio, strict=True))
            for name, ratio in ratios.items()
            if not math.isnan(ratio[0])
        }
    return data
