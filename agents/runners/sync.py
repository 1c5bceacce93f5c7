"""Synchronous runner: actor and learner take turns. The lag is 0, so V-trace is the n-step return and the agent is A2C
(Mnih et al. 2016).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ...auxiliaries.pooling import Metric
from ...envs.experience import Rollout
from ..actor import Actor
from ..learner import Learner
from .base import Doing, Runner


class Sync(Runner):
    """Collects a rollout with the newest weights, then learns from it."""

    def __init__(self, actor: Actor, learner: Learner) -> None:
        self.actor, self.learner = actor, learner
        self.seconds = {"learning": 0.0}
        self.diagnose = False
        self.doing: Doing = "nothing"

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
        """Return the seconds spent since the last call, by activity."""
        spent = {**self.actor.seconds, **self.seconds}
        for clock in (self.actor.seconds, self.seconds):
            clock.update(dict.fromkeys(clock, 0.0))
        return spent
