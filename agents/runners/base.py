"""What a runner is: how an actor and a learner work together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from ...auxiliaries.pooling import Metric
from ...envs.experience import Rollout
from ..actor import Actor
from ..learner import Learner

Doing = Literal["nothing", "acting", "learning"]


class Runner(Protocol):
    """Iterates over (rollout, metrics), one update each, until the learner has seen its ``total_steps``."""

    doing: Doing
    """How far an error or a signal interrupted it: "nothing" is between two updates, where actor, learner and
    environment are of the same step; while "acting" the learner still is; while "learning" nothing can be told."""
    diagnose: bool
    """Whether the next update also measures what is costly; the training loop sets it."""

    def __init__(self, actor: Actor, learner: Learner) -> None: ...

    def __iter__(self) -> Iterator[tuple[Rollout, dict[str, Metric]]]:
        """Collect, learn and yield until the end of the budget."""

    def drain_seconds(self) -> dict[str, float]:
        """Return where the time went since the last call."""
