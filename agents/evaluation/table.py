"""Scores as a printed table."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from .scores import Evaluation, Recorded, Score, normalised_score, together


def scores_table(scores: Mapping[str, Score], title: str = "") -> Table:
    """Build a table with a row for each policy of ``scores`` ("agent", "random", "oracle", ...), the agent's tasks
    below it, and the normalised score if both random and oracle are present.
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
            measured = together(score, *others)
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
