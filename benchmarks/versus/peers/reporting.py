"""Reports of a training process to the one that measures it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

Report = Callable[[int], bool]
"""Function that is told the number of environment steps so far, after each update, and returns whether to stop."""


def to_parent(seconds: float) -> Report:
    """Return a function that prints lines of JSON, [steps, seconds of the monotonic clock], and says to stop once
    ``seconds`` have passed since its first line, or nobody reads them any more.

    Whatever else this process prints to standard output goes to standard error.
    """
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    end: float | None = None

    def report(steps: int) -> bool:
        nonlocal end
        now = time.monotonic()
        end = now + seconds if end is None else end
        try:
            print(json.dumps([steps, now]), file=pipe, flush=True)
        except BrokenPipeError:  # the parent is gone
            return True
        return now >= end

    return report
