"""Curve of the training return, and what is read off it: steps and seconds to a return, medians over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
POINTS = 100
"""Number of points of a stored curve."""


class Curve(NamedTuple):
    """Training return of one run, at the steps at which episodes ended."""

    step: Floats
    seconds: Floats
    mean: Floats


def moving_average(episodes: Mapping[str, Any], window: int) -> Curve:
    """Return the mean return of the episodes that ended in the last ``window`` steps.

    There is a point for each step at which an episode ended, from the first full window on; each episode counts alike.
    """
    step, returns, seconds = (np.array(episodes[name], dtype=np.float64) for name in ("step", "return", "seconds"))
    points, first = np.unique(step, return_index=True)
    points, at = points[points >= window], seconds[first][points >= window]
    begin, end = (np.searchsorted(step, x, side="right") for x in (points - window, points))
    # No running sum: its rounding would decide whether a return is reached exactly.
    means = [returns[b:e].mean() for b, e in zip(begin, end, strict=True)]
    return Curve(points, at, np.array(means, dtype=np.float64))


def reached(curve: Curve, threshold: float) -> tuple[float, float] | None:
    """Return steps and seconds at the first point of at least ``threshold``, or None if there is none."""
    above = np.flatnonzero(curve.mean >= threshold)
    return (float(curve.step[above[0]]), float(curve.seconds[above[0]])) if len(above) else None


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """Return at most ``points`` points, evenly spaced by number, with the first and the last."""
    kept = np.unique(np.linspace(0, len(curve.step) - 1, min(points, len(curve.step))).round().astype(int))
    return Curve(*(x[kept] for x in curve))


class Over(NamedTuple):
    """Median and range over seeds; infinite where a return was not reached."""

    median: float
    low: float
    high: float


def over_seeds(values: Sequence[float | None]) -> Over:
    """Return median and range over seeds, in which a return that was not reached (None) takes for ever."""
    found = [math.inf if value is None else value for value in values]
    return Over(statistics.median(found), min(found), max(found))


def median_curve(curves: Sequence[Curve], along: str) -> tuple[Floats, Floats]:
    """Return where the median over seeds is known ``along`` "step" or "seconds", and the median.

    Curves are interpolated linearly and the median ends with the shortest of them.
    """
    places: list[Floats] = [getattr(curve, along) for curve in curves]
    if not all(map(len, places)):
        return np.empty(0), np.empty(0)
    begin, end = max(x[0] for x in places), min(x[-1] for x in places)
    every = np.unique(np.concatenate(places))
    every = every[(every >= begin) & (every <= end)]
    return every, np.median([np.interp(every, x, c.mean) for x, c in zip(places, curves, strict=True)], axis=0)
