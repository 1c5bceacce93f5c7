"""Actor and learner take turns: lag 0, so V-trace is the n-step return and the agent is A2C (Mnih et al. 2016)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from ...auxiliaries.pooling import Metric
from ...envs.experience import Rollout
from ..actor import Actor
from ..learner import Learner


class Sync:
    """Iterates over (rollout, metrics), one update each, until the learner has seen ``total_steps``.

    ``doing`` says how far an error or a signal interrupted it: "nothing" is between two updates, where actor, learner
    and environment are of the same step; while "acting" the learner still is; while "learning" nothing can be told.
    """

    def __init__(self, actor: Actor, learner: Learner) -> None:
        self.actor, self.learner = actor, learner
        self.seconds = {"learning": 0.0}
        self.diagnose = False  # whether the next update measures what is costly
        self.doing: Literal["nothing", "acting", "learning"] = "nothing"

    def __iter__(self) -> Iterator[tuple[Rollout, dict[str, Metric]]]:
        while self.learner.steps < self.learner.total_steps:
            self.doing = "acting"
            rollout = self.actor.collect()
            self.doing = "learning"
            before = time.perf_counter()
            metrics = self.learner.step(rollout, diagnose=self.diagnose)
            self.seconds["learning"] += time.perf_counter() - before
            self.doing = "nothing"
            yield rollout, metrics

    def drain_seconds(self) -> dict[str, float]:
        """Where the time went since the last call."""
        spent = {**self.actor.seconds, **self.seconds}
        for clock in (self.actor.seconds, self.seconds):
            clock.update(dict.fromkeys(clock, 0.0))
        return spent
