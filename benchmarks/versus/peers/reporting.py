"""Reports of a training process to the one that measures it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

Report = Callable[[int], bool]
"""Function that is told the number of environment steps so far, after each update, and returns whether to stop."""
UPDATE_SECONDS = 2.0
"""Time for the current update to end after SIGTERM."""


def to_parent(seconds: float) -> Report:
    """Return a function that prints lines of JSON, [steps, seconds of the monotonic clock], and says to stop once
    ``seconds`` have passed since its first line, SIGTERM has come, or nobody reads them any more.

    If no update ends soon after SIGTERM, SystemExit is raised, so that simulators can be closed all the same. Whatever
    else this process prints to standard output goes to standard error.
    """
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    end: float | None = None
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.setitimer(signal.ITIMER_REAL, UPDATE_SECONDS)

    def report(steps: int) -> bool:
        nonlocal end
        signal.setitimer(signal.ITIMER_REAL, 0)  # there is time to close now
        now = time.monotonic()
        end = now + seconds if end is None else end
        try:
            print(json.dumps([steps, now]), file=pipe, flush=True)
        except BrokenPipeError:  # the parent is gone
            return True
        return asked or now >= end

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGALRM, leave)
    return report


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Raise SystemExit, as the handler of a signal."""
    raise SystemExit(128 + signal.SIGTERM)
