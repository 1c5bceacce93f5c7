"""Records of a run: metrics collected between two records."""

from __future__ import annotations

import time
from typing import Any

from ...auxiliaries.pooling import Metric
from ...envs.experience import Rollout
from ...envs.exploration import Exploration
from ...envs.statistics import EpisodeStatistics
from ..config.build import Parts
from ..config.config import Config
from ..finite import NonFiniteError
from ..model import EXTRINSIC
from ..runners import Runner
from .averages import Averages


class Recorder:
    """Accumulates episodes, metrics and time between two records, including earlier sessions of the run."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self.config, self.parts = config, parts
        self.statistics = EpisodeStatistics(config.num_envs, len(parts.env.spec.tasks), config.device)
        self.exploration = exploration(config, parts)
        self.averages = Averages()
        self.seconds_before, self.restarts_before = 0.0, 0  # of earlier sessions
        self.begin()

    def begin(self) -> None:
        """Start the clock of this session."""
        self.started = time.perf_counter()
        self.mark = (self.seconds, self.parts.learner.steps)  # at the last record

    @property
    def seconds(self) -> float:
        """Return the seconds spent on this run, including earlier sessions."""
        return self.seconds_before + time.perf_counter() - self.started

    @property
    def restarts(self) -> int:
        """Return how often an environment broke and was replaced, including earlier sessions."""
        return self.restarts_before + sum(self.parts.env.restarts)

    def add(self, rollout: Rollout, metrics: dict[str, Metric]) -> None:
        """Add one update; nothing leaves the device."""
        self.statistics.update(rollout)
        if self.exploration is not None:
            self.exploration.update(rollout, self.parts.learner.intrinsic)
        self.averages.add(metrics)

    def record(self, runner: Runner) -> dict[str, Any]:
        """Return means since the last record: the one place where the host waits for the device.

        NonFiniteError if a loss or gradient became non-finite since.
        """
        learner, spec = self.parts.learner, self.parts.env.spec
        explored = {} if self.exploration is None else self.exploration.report()
        means = self.averages.drain()
        if means.pop("finite") < 1:
            raise NonFiniteError(
                f"A loss or gradient became non-finite before step {learner.steps:,}; updates since then were skipped. "
                "Lower --learning-rate or --max-grad-norm."
            )
        spent = runner.drain_seconds()
        seconds, steps = self.seconds - self.mark[0], learner.steps - self.mark[1]
        self.mark = (self.seconds, learner.steps)
        return {
            "step": learner.steps,
            "frames": learner.steps * spec.frames_per_step,
            "updates": learner.updates,
            **self.statistics.report(spec.tasks, spec.success),
            **{f"explore/{k}": v for k, v in explored.items()},
            **means,
            **({"restarts": self.restarts} if self.config.restart_envs else {}),
            "learning_rate": learner.learning_rate,
            "entropy_cost": learner.entropy_cost,
            "time/seconds": self.seconds,
            "time/steps_per_second": steps / seconds,
            **{f"time/{k}": v for k, v in spent.items()},
            "time/other": max(0.0, seconds - sum(spent.values())),
        }

    def picture(self) -> bytes | None:
        """Return heat maps of what was explored, as a PNG; None if the environment has no map of its cells. Rewards are
        means since the last call. The host waits for the device.
        """
        env, learner = self.parts.env, self.parts.learner
        plans = [env.cell_map(k) for k in range(len(env.spec.tasks))]
        drawn = [plan for plan in plans if plan is not None]
        if self.exploration is None or len(drawn) < len(plans):
            return None
        from .heat_map import heat_map

        return heat_map(self.exploration.drain_heat(), drawn, env.spec.tasks, f"after {learner.steps:,} steps")

    def state_dict(self) -> dict[str, Any]:
        """Return all state on which later records depend."""
        return {
            "statistics": self.statistics.state_dict(),
            "averages": self.averages.state_dict(),
            **({} if self.exploration is None else {"exploration": self.exploration.state_dict()}),
            "seconds": self.seconds,
            "restarts": self.restarts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``; other entries of ``state`` are ignored. ``exploration``, which earlier versions
        lack, then begins anew.
        """
        self.statistics.load_state_dict(state["statistics"])
        self.averages.load_state_dict(state["averages"], self.config.device)
        if self.exploration is not None and "exploration" in state:
            self.exploration.load_state_dict(state["exploration"])
        self.seconds_before, self.restarts_before = state["seconds"], state["restarts"]


def exploration(config: Config, parts: Parts) -> Exploration | None:
    """Return the measure of exploration of a run; None if its environment does not tell the agent's cell."""
    if parts.env.num_cells is None or "cell" not in parts.actor.rollout.info:
        return None
    streams = [stream.name for stream in parts.learner.streams.all if stream.name != EXTRINSIC]
    tasks = len(parts.env.spec.tasks)
    return Exploration(config.num_envs, tasks, parts.env.num_cells, config.device, rewards=streams)
