"""The schedule of records, evaluations and checkpoints."""

from __future__ import annotations


class Schedule:
    """Tracks when records, evaluations and checkpoints are due. ``done`` holds the step of the last of each and is
    saved in checkpoints.
    """

    def __init__(self) -> None:
        self.done = {"eval": 0, "checkpoint": 0, "log": 0}

    def due(self, what: str, every: int, step: int) -> bool:
        """Return whether a multiple of ``every`` steps was passed since the last time; with 0, nothing is ever due."""
        if every and step // every > self.done[what] // every:
            self.done[what] = step
            return True
        return False


def passes(step: int, more: int, every: int, end: int) -> bool:
    """Return whether ``more`` steps reach or pass a multiple of ``every``, or the ``end``."""
    after = step + more
    return after >= end or after // every > step // every
