"""Log of the episodes that end in training: the same for every agent, whoever trains it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.experience import Rollout

TELL_SECONDS = 2.0
"""Least time between two reports of progress."""
Tell = Callable[[int, float | None], None]
"""Function that reports progress: steps so far, and the mean return of the last episodes, if any have ended."""


class EpisodeLog:
    """Step and return of each episode that ends in B environments, and the seconds at the end of each update.

    A step is one valid step of one environment. The clock starts with ``start``, before the first step, and the time of
    an episode's end is interpolated by step between the updates around it.
    """

    def __init__(self, num_envs: int, tell: Tell = lambda steps, mean: None) -> None:
        self.steps = 0
        self.ended: list[tuple[int, float]] = []  # step and return
        self.clock: list[tuple[int, float]] = []  # steps and seconds at the end of each update
        self._running = np.zeros(num_envs)
        self._tell, self._told = tell, 0.0
        self._begun = self._begun_cpu = self.cpu_seconds = 0.0

    def start(self) -> None:
        """Start the clock."""
        self._begun, self._begun_cpu = time.perf_counter(), time.process_time()
        self.clock = [(0, 0.0)]

    def step(self, reward: NDArray[Any], done: NDArray[Any], valid: NDArray[Any] | None = None) -> None:
        """Add one step of all environments: rewards [B], which episodes ended [B], and which steps count [B]."""
        self.steps += len(reward) if valid is None else int(valid.sum())
        self._running += reward if valid is None else np.where(valid, reward, 0.0)
        if done.any():
            self.ended += [(self.steps, float(total)) for total in self._running[done]]
            self._running[done] = 0.0

    def rollout(self, rollout: Rollout) -> None:
        """Add the steps of a rollout, without the rows that cross a reset."""
        valid = rollout.valid
        ended = rollout.last[1:] & valid
        for step in zip(*(x.cpu().numpy() for x in (rollout.reward, ended, valid)), strict=True):
            self.step(*step)

    def updated(self) -> None:
        """Note the time at the end of an update, and report progress from time to time."""
        seconds, self.cpu_seconds = time.perf_counter() - self._begun, time.process_time() - self._begun_cpu
        self.clock.append((self.steps, seconds))
        if seconds - self._told >= TELL_SECONDS:
            self._told = seconds
            last = [total for _, total in self.ended[-len(self._running) :]]
            self._tell(self.steps, sum(last) / len(last) if last else None)

    def result(self) -> dict[str, Any]:
        """Return the log as plain JSON."""
        steps = [step for step, _ in self.ended]
        done, seconds = zip(*self.clock, strict=True)
        return {
            "step": steps,
            "seconds": [float(s) for s in np.interp(steps, done, seconds)],
            "return": [total for _, total in self.ended],
            "steps": self.steps,
            "took_seconds": seconds[-1],
            "took_cpu_seconds": self.cpu_seconds,
        }
