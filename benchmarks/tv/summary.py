"""What a curve says: does the television attract, and does that last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .measure import Levels, points

PARTS = 10
"""Parts of a curve whose ratios are compared; the last one is its end."""
IGNORED, ATTRACTED, FALLING = 1.2, 1.5, 0.8
"""Ratio up to which nothing attracts; ratio from which something clearly does; share of its highest ratio below which
one has fallen."""
RULE = (
    f"ratio: mean reward before the television over the mean size of the reward elsewhere, in each of {PARTS} parts of "
    f"the run. ignored: never above {IGNORED}. faded: above {IGNORED} once, and not at the end. fading: below "
    f"{FALLING:.0%} of its highest at the end. attracted: above {ATTRACTED} at the end, and not fading. slight: "
    f"otherwise. none: nothing was paid elsewhere."
)


def ratio(paid: float, size: float) -> float | None:
    """Return what is ``paid`` in units of what is paid elsewhere. None where nothing was."""
    return paid / size if size > 0 else None


def verdict(ratios: Sequence[float]) -> str:
    """Judge ratios in the order of time by `RULE`."""
    if not ratios:
        return "none"
    highest, end = max(ratios), ratios[-1]
    if end <= IGNORED:
        return "ignored" if highest <= IGNORED else "faded"
    if end < FALLING * highest:
        return "fading"
    return "attracted" if end > ATTRACTED else "slight"


def summary(curve: Sequence[Levels]) -> dict[str, Any]:
    """Summarise a curve: the ratio at its first point, at the highest and in the last part; by which factor the reward
    before the television changed from the first point to the last part; in the last part also the ratio at rest without
    new noise; and the verdict.
    """
    scored = [row for row in curve if not math.isnan(row.size)]
    if not scored:
        return dict.fromkeys(("start", "highest", "end", "rest", "trend")) | {"verdict": "none"}
    parts = points(scored, min(PARTS, len(scored)))
    ratios = [r for r in (ratio(part.watching, part.size) for part in parts) if r is not None]
    begun, last = scored[0], parts[-1]
    return {
        "start": ratio(begun.watching, begun.size),
        "highest": max(ratios, default=None),
        "end": ratio(last.watching, last.size),
        "rest": ratio(last.resting, last.size),
        "trend": last.watching / begun.watching if begun.watching > 0 else None,
        "verdict": verdict(ratios),
    }
