"""Figures by lag and estimator from the runs of ``morello bench lag``."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

Run = dict[str, Any]
"""Fields of the case, the curve and the final return."""
THRESHOLD = 200.0
"""Return that counts as learnt; random play has 22, and the time limit allows 500."""


def of(runs: Sequence[Run], estimator: str, lag: int, rate: float | None = None) -> list[Run]:
    """Return the runs of one estimator at one lag, and at one rate if it is given."""
    return [r for r in runs if (r["estimator"], r["lag"]) == (estimator, lag) and rate in (None, r["rate"])]


def best(runs: Sequence[Run], estimator: str, lag: int) -> float:
    """Return the learning rate with the highest mean final return: each estimator's own choice at each lag."""
    mine = of(runs, estimator, lag)
    rates: dict[float, None] = dict.fromkeys(run["rate"] for run in mine)
    return max(rates, key=lambda rate: statistics.fmean(r["final"] for r in mine if r["rate"] == rate))


def reached(run: Run) -> int | None:
    """Return the first step of the curve at which the return reaches `THRESHOLD`; None if it never does."""
    points = zip(run["step"], run["episode_return"], strict=True)
    return next((step for step, value in points if value is not None and value >= THRESHOLD), None)


def rows(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Yield one row for each lag, estimator and rate.

    ``final`` is the mean of the seeds, ``least`` and ``most`` their range; ``reached`` is how many seeds ever reached
    `THRESHOLD`, and ``steps`` the mean number of steps that these took.
    """
    for lag, estimator, rate in dict.fromkeys((run["lag"], run["estimator"], run["rate"]) for run in runs):
        mine = of(runs, estimator, lag, rate)
        final = [run["final"] for run in mine]
        steps = [step for step in map(reached, mine) if step is not None]
        yield {
            "lag": lag,
            "estimator": estimator,
            "rate": rate,
            "best": rate == best(runs, estimator, lag),
            "seeds": len(mine),
            "final": statistics.fmean(final),
            "least": min(final),
            "most": max(final),
            "reached": len(steps),
            "steps": statistics.fmean(steps) if steps else None,
        }
