"""Fault records of environments: the active environment, seeds, steps and restart counts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..errors import BrokenEnvironmentError

ATTEMPTS = 3
"""Consecutive failures to begin an episode after which an environment is abandoned."""
EPISODES = 10
"""Failures without a complete episode in between after which an environment is abandoned."""


class Faults:
    """Fault records of B environments, and the index of the active one, in memory that outlives their process.

    ``seed``: the seed last assigned to the environment's generator. ``derived``: the number of seeds derived from the
    given one. ``step``: the step of the current episode, 0 during its reset. ``restarts``: times the environment was
    recreated. ``broken``: failures since its last complete episode. All int64 [B]. ``turn`` [1]: the environment whose
    code is running, -1 for none.
    """

    COLUMNS = 5

    def __init__(self, memory: NDArray[np.int64], turn: NDArray[np.int64], names: str, offset: int) -> None:
        self.memory, self.turn, self.names, self.offset = memory, turn, names, offset
        self.seed, self.derived, self.step, self.restarts, self.broken = memory

    @classmethod
    def new(cls, seed: int, num_envs: int, names: str, offset: int) -> Faults:
        """Return records without faults; environment i of ``num_envs`` has seed ``seed + offset + i``."""
        faults = cls(np.zeros((cls.COLUMNS, num_envs), np.int64), np.full(1, -1), names, offset)
        faults.begin(range(num_envs), seed)
        return faults

    def begin(self, chosen: Iterable[int], seed: int) -> None:
        """Restart the random streams of the ``chosen`` environments from ``seed``."""
        for i in chosen:
            self.seed[i], self.derived[i] = seed + self.offset + i, 0

    def describe(self, i: int, does: str) -> str:
        """Return a phrase that names environment i by its global index and seed, what it ``does``, and the step."""
        when = f"at step {self.step[i]}" if self.step[i] else "in reset"
        return f"{self.names}: environment {self.offset + i} (seed {self.seed[i]}) {does} {when} of an episode"

    def blame(
        self, i: int, reason: str, restart: bool, *, last: bool = False, error: BaseException | None = None
    ) -> str:
        """Record another failure of environment i and return a sentence that describes it. BrokenEnvironmentError if
        the environment may not be recreated, or if this was the ``last`` attempt, or if its episodes keep failing.
        """
        self.broken[i] += 1
        what = f"{self.describe(i, 'failed')}: {reason}"
        if not restart:
            raise BrokenEnvironmentError(f"{what}; --restart-envs recreates it") from error
        if last or self.broken[i] >= EPISODES:
            times = f"failed {self.broken[i]} times without a whole episode, recreated {self.restarts[i]} times"
            raise BrokenEnvironmentError(f"{what} ({times})") from error
        return what

    def made_anew(self, i: int) -> None:
        """Record that environment i was recreated; it continues with a new seed, derived from its current one."""
        self.restarts[i] += 1
        self.derived[i] += 1
        # Modulo the range of seeds: a faulty worker may have written anything here.
        self.seed[i] = derived_seed(int(self.seed[i]) % 2**62, int(self.derived[i]) % 2**62)


def derived_seed(seed: int, count: int) -> int:
    """Return the ``count``-th seed derived from ``seed``, below 2 ** 32."""
    return int(np.random.SeedSequence((seed, count)).generate_state(1)[0])
