"""What is drawn of a training curve: means over enough episodes, each as much as the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.statistics import EPISODES

Floats = NDArray[np.float64]


def drawn(curve: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Steps and returns of a kept curve.

    Records of today are of a window of episodes, and are drawn as they are. Those of earlier versions are of the
    episodes that ended in the interval, be they two or two hundred, and the first ones of those that ended early: where
    their numbers were kept, each point is the mean over the last `EPISODES` or more, from the first point on that has
    so many behind it. Where nothing was kept but the means, these are drawn.
    """
    steps, returns = (np.array(curve[name], dtype=np.float64) for name in ("step", "episode_return"))
    if "window_episodes" in curve or "episodes" not in curve:
        return steps, returns
    count = np.nan_to_num(np.array(curve["episodes"], dtype=np.float64))
    means, behind = trailing_mean(returns, count, EPISODES)
    kept = behind >= min(EPISODES, count.sum())
    return steps[kept], means[kept]


def margin(curve: Mapping[str, Any]) -> Floats | None:
    """Half the 95 % interval of each point, from the spread and the number of the episodes behind it; None where these
    were not kept.
    """
    if not {"window_episodes", "episode_return_std"} <= curve.keys():
        return None
    count, spread = (np.array(curve[name], dtype=np.float64) for name in ("window_episodes", "episode_return_std"))
    half = 1.96 * spread / np.sqrt(np.maximum(count, 1))
    return np.where(count > 1, half, np.nan)  # one episode says nothing of the spread


def trailing_mean(x: Floats, weight: Floats, least: float) -> tuple[Floats, Floats]:
    """``sum w x / sum w`` over the fewest last points that weigh ``least``, or over all; and their weight."""
    weights, totals = (np.concatenate([[0.0], np.cumsum(y)]) for y in (weight, weight * x))
    begin = np.maximum(np.searchsorted(weights, weights[1:] - least, side="right") - 1, 0)
    behind = weights[1:] - weights[begin]
    return np.divide(totals[1:] - totals[begin], behind, out=np.full_like(behind, np.nan), where=behind > 0), behind
