"""When records, evaluations and checkpoints are due."""

from __future__ import annotations


class Schedule:
    """The step of the last record, evaluation and checkpoint: ``done``, which a checkpoint holds."""

    def __init__(self) -> None:
        self.done = {"eval": 0, "checkpoint": 0, "log": 0}

    def due(self, what: str, every: int, step: int) -> bool:
        """Whether a multiple of ``every`` steps was passed since the last time; 0 is never."""
        if every and step // every > self.done[what] // every:
            self.done[what] = step
            return True
        return False


def passes(step: int, more: int, every: int, end: int) -> bool:
    """Whether ``more`` steps lead over a multiple of ``every``, or to the ``end``."""
    after = step + more
    return after >= end or after // every > step // every
