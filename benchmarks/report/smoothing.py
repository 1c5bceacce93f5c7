"""Smoothing of training curves: means over enough episodes, equally weighted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.statistics import EPISODES

Floats = NDArray[np.float64]
RETURN = "episode_return"


def drawn(curve: Mapping[str, Any], measure: str = RETURN) -> tuple[Floats, Floats]:
    """Return the steps of a stored curve and its column ``measure``, where that was known.

    Returns are smoothed if they need it.

    Current records hold means over a window of episodes, which are drawn unchanged. Earlier versions stored means over
    the episodes that ended in each interval, however many, which at the beginning are biased towards short episodes.
    Where their numbers were stored, each point is the mean over the last `EPISODES` episodes or more, starting at the
    first point that has as many; otherwise the stored means are drawn.
    """
    steps, returns = (np.array(curve[name], dtype=np.float64) for name in ("step", measure))
    if measure != RETURN:
        known = ~np.isnan(returns)
        return steps[known], returns[known]
    if "window_episodes" in curve or "episodes" not in curve:
        return steps, returns
    count = np.nan_to_num(np.array(curve["episodes"], dtype=np.float64))
    means, behind = trailing_mean(returns, count, EPISODES)
    kept = behind >= min(EPISODES, count.sum())
    return steps[kept], means[kept]


def margin(curve: Mapping[str, Any]) -> Floats | None:
    """Return half the 95 % interval of each point, from the spread and number of its episodes; None if not stored."""
    if not {"window_episodes", "episode_return_std"} <= curve.keys():
        return None
    count, spread = (np.array(curve[name], dtype=np.float64) for name in ("window_episodes", "episode_return_std"))
    half = 1.96 * spread / np.sqrt(np.maximum(count, 1))
    return np.where(count > 1, half, np.nan)  # one episode gives no estimate of the spread


def trailing_mean(x: Floats, weight: Floats, least: float) -> tuple[Floats, Floats]:
    """Return trailing means ``sum w x / sum w``, and their total weights.

    Each is over the fewest last points of total weight ``least`` or more, or over all points so far.
    """
    weights, totals = (np.concatenate([[0.0], np.cumsum(y)]) for y in (weight, weight * x))
    begin = np.maximum(np.searchsorted(weights, weights[1:] - least, side="right") - 1, 0)
    behind = weights[1:] - weights[begin]
    return np.divide(totals[1:] - totals[begin], behind, out=np.full_like(behind, np.nan), where=behind > 0), behind
