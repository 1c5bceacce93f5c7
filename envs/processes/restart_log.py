"""What is known of environments that may break: whose turn it was, its seed, its step, how often it was made anew."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..errors import BrokenEnvironmentError

ATTEMPTS = 3
"""Times in a row an environment may fail to begin an episode before it is given up."""
EPISODES = 10
"""Times an environment may break without one whole episode in between before it is given up."""


class Faults:
    """Columns of B environments, and the one whose turn it is; in memory that outlives the process they run in.

    ``seed``: what its generator was last to be seeded with. ``derived``: how many seeds were drawn from the one given.
    ``step``: of the episode under way, 0 in its reset. ``restarts``: times it was made anew. ``broken``: times it
    broke since its last whole episode. All int64 [B]. ``turn`` [1]: in whose code we are, -1: no one's.
    """

    COLUMNS = 5

    def __init__(self, memory: NDArray[np.int64], turn: NDArray[np.int64], names: str, offset: int) -> None:
        self.memory, self.turn, self.names, self.offset = memory, turn, names, offset
        self.seed, self.derived, self.step, self.restarts, self.broken = memory

    @classmethod
    def new(cls, seed: int, num_envs: int, names: str, offset: int) -> Faults:
        """Environments that have done no wrong yet; i of ``num_envs`` has seed ``seed + offset + i``."""
        faults = cls(np.zeros((cls.COLUMNS, num_envs), np.int64), np.full(1, -1), names, offset)
        faults.begin(range(num_envs), seed)
        return faults

    def begin(self, chosen: Iterable[int], seed: int) -> None:
        """The random streams of the ``chosen`` start over from ``seed``."""
        for i in chosen:
            self.seed[i], self.derived[i] = seed + self.offset + i, 0

    def describe(self, i: int, does: str) -> str:
        """Which environment it is, as it is known outside, what it ``does`` and when."""
        when = f"at step {self.step[i]}" if self.step[i] else "in reset"
        return f"{self.names}: environment {self.offset + i} (seed {self.seed[i]}) {does} {when} of an episode"

    def blame(
        self, i: int, reason: str, restart: bool, *, last: bool = False, error: BaseException | None = None
    ) -> str:
        """Environment i broke once more: what happened, in a sentence. BrokenEnvironmentError if it may not be made
        anew, or if that helps no more: this was the ``last`` attempt, or its episodes break one after the other.
        """
        self.broken[i] += 1
        what = f"{self.describe(i, 'failed')}: {reason}"
        if not restart:
            raise BrokenEnvironmentError(f"{what}; --restart-envs makes it anew") from error
        if last or self.broken[i] >= EPISODES:
            times = f"failed {self.broken[i]} times without a whole episode, made anew {self.restarts[i]} times"
            raise BrokenEnvironmentError(f"{what} ({times})") from error
        return what

    def made_anew(self, i: int) -> None:
        """Environment i goes on with another stream than the one that led here, and still decided by its seed."""
        self.restarts[i] += 1
        self.derived[i] += 1
        # Modulo what seeds may be: a worker that went wrong can have written here what it liked.
        self.seed[i] = derived_seed(int(self.seed[i]) % 2**62, int(self.derived[i]) % 2**62)


def derived_seed(seed: int, count: int) -> int:
    """The ``count``-th seed drawn from ``seed``, below 2 ** 32."""
    return int(np.random.SeedSequence((seed, count)).generate_state(1)[0])
