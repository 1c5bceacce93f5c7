"""The runner's interface: how an actor and a learner work together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from ...auxiliaries.pooling import Metric
from ...envs.experience import Rollout
from ..actor import Actor
from ..learner import Learner

Doing = Literal["nothing", "acting", "learning"]


class Runner(Protocol):
    """Iterates over (rollout, metrics), one update each, until the learner has processed ``total_steps`` steps."""

    doing: Doing
    """The current activity, which tells what state an error or signal leaves behind. "nothing": between two updates;
    actor, learner and environment are at the same step. "acting": only the learner's state is consistent. "learning":
    no state is known to be consistent."""
    diagnose: bool
    """Flag set by the training loop: the next update also computes costly metrics."""

    def __init__(self, actor: Actor, learner: Learner) -> None: ...

    def __iter__(self) -> Iterator[tuple[Rollout, dict[str, Metric]]]:
        """Collect, learn and yield until the end of the budget."""

    def drain_seconds(self) -> dict[str, float]:
        """Return the seconds spent since the last call, by activity."""
