"""Means with bootstrap intervals, and normalised means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 5_000


def bootstrap_means(x: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Return the means [resamples] of samples of ``x`` [N], drawn with replacement and of the size of ``x`` (Efron
    1979).
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, 1_000_000 // len(x))
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    return np.concatenate([x[rng.integers(len(x), size=(size, len(x)))].mean(1) for size in sizes])


def interval(samples: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval that holds ``confidence`` of the samples."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def normalised(agent: Floats, random: Floats, oracle: Floats) -> Floats:
    """Return (agent - random) / (oracle - random): 0 for the random policy, 1 for the oracle. NaN where those two are
    equal.
    """
    agent, random, oracle = np.broadcast_arrays(agent, random, oracle)
    room = oracle - random
    score: Floats = np.divide(agent - random, room, out=np.full(room.shape, np.nan), where=room != 0)
    return score
