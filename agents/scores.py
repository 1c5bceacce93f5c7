"""What evaluations came to, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """N whole episodes, those of an environment in a row."""

    returns: Floats  # [N], undiscounted
    lengths: NDArray[np.int64]  # [N] steps
    terminated: NDArray[np.bool_]  # [N], ended by the task, not by a time limit
    successes: NDArray[np.bool_]  # [N], terminated on a positive reward: reached a goal
    task: NDArray[np.int64]  # [N], index into tasks
    tasks: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean return."""
        return interval(bootstrap_means(self.returns))

    @property
    def success(self) -> float:
        """Share of episodes that reached a goal."""
        return float(self.successes.mean())

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
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what the table shows, and every episode."""
        low, high = self.interval
        return {
            "mean": self.mean,
            "low": low,
            "high": high,
            "episodes": len(self.returns),
            "mean_length": float(self.lengths.mean()),
            "terminated": float(self.terminated.mean()),
            "success": self.success,
            "returns": self.returns.tolist(),
            "lengths": self.lengths.tolist(),
            "task": [self.tasks[k] for k in self.task],
        }


def bootstrap_means(x: Floats, resamples: int = 5_000, seed: int = 0) -> Floats:
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


def normalised_score(agent: Evaluation, random: Evaluation, oracle: Evaluation) -> tuple[float, float, float]:
    """The normalised mean return and its 95 % interval, all three scores resampled."""
    score = float(normalised(*(np.array(e.mean) for e in (agent, random, oracle))))
    resampled = normalised(*(bootstrap_means(e.returns, seed=k) for k, e in enumerate((agent, random, oracle))))
    finite = resampled[np.isfinite(resampled)]
    return score, *(interval(finite) if len(finite) else (math.nan, math.nan))


def scores_table(scores: Mapping[str, Evaluation], title: str = "") -> Table:
    """A row for each policy of ``scores`` ("agent", "random", "oracle", ...), the agent's tasks below it, and
    the normalised score where random and oracle are there to measure it by.
    """
    reference = (scores["random"], scores["oracle"]) if {"random", "oracle"} <= scores.keys() else None
    shown = Table(title=title or None, title_justify="left", title_style="bold", header_style="dim", box=None)
    shown.add_column("")
    names = ["return", "95 % interval", "episodes", "steps", "success", "normalised"]
    for name in names if reference else names[:-1]:
        shown.add_column(name, justify="right")
    for name, evaluation in scores.items():
        others = reference if name not in ("random", "oracle") else None
        shown.add_row(name, *_cells(evaluation, others), style="bold" if others else None)
        tasks = evaluation.by_task()
        if others and len(tasks) > 1:
            by_task = [o.by_task() for o in others]
            for task, part in tasks.items():
                shown.add_row(f"  {task}", *_cells(part, (by_task[0][task], by_task[1][task])))
    return shown


def _cells(evaluation: Evaluation, reference: tuple[Evaluation, Evaluation] | None) -> list[str]:
    low, high = evaluation.interval
    cells = [
        f"{evaluation.mean:.2f}",
        f"{low:.2f} to {high:.2f}" if len(evaluation.returns) > 1 else "-",
        f"{len(evaluation.returns):,}",
        f"{evaluation.lengths.mean():,.0f}",
        f"{evaluation.success:.0%}" if evaluation.terminated.any() else "-",
    ]
    if reference is not None:
        score, low, high = normalised_score(evaluation, *reference)
        cells.append("-" if math.isnan(score) else f"{score:.2f} ({low:.2f} to {high:.2f})")
    return cells


def as_dict(scores: Mapping[str, Evaluation]) -> dict[str, Any]:
    """``evaluation.json``: every policy's scores, and the agent's normalised one, over all and by task."""
    data: dict[str, Any] = {name: evaluation.as_dict() for name, evaluation in scores.items()}
    if {"agent", "random", "oracle"} <= scores.keys():
        parts = {name: scores[name].by_task() for name in ("agent", "random", "oracle")}
        groups = {"all": {name: scores[name] for name in parts}}
        groups |= {task: {name: parts[name][task] for name in parts} for task in parts["agent"]}
        data["normalised"] = {}
        for task, group in groups.items():
            score = normalised_score(group["agent"], group["random"], group["oracle"])
            if not math.isnan(score[0]):
                data["normalised"][task] = dict(zip(("mean", "low", "high"), score, strict=True))
    return data
