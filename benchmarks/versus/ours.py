"""Training of ours, in the process that is measured: ``python -m morello.benchmarks.versus.ours SETTINGS``."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from typing import Any

from ...agents.config.config import Config
from ...agents.config.overrides import with_overrides
from ...agents.config.presets import PRESETS
from ...agents.config.resolve import resolve
from ...agents.training.loop import Training
from ...agents.training.signals import Stop, Stopped
from .peers.pool import ACTION_REPEAT, FRAME
from .peers.reporting import to_parent

LONG = 10**12
"""Budget in steps that is never reached, so that the learning rate stays constant."""


def config_of(num_envs: int, seed: int, run: str | None = None) -> Config:
    """Return the settings of ``morello train a2c`` on the task, resolved; everything else has its default, and the
    torso is what it chooses.
    """
    values = {
        "env": "vizdoom:MyWayHome",
        "num_envs": num_envs,
        "frame_size": FRAME[1:],
        "action_repeat": ACTION_REPEAT,
        "torso": "nature",
        "steps": LONG,
        "seed": seed,
        "device": "cpu",
        "run": run,
        "quiet": True,
    }
    return resolve(with_overrides(PRESETS["a2c"].config, values))


def main(settings: dict[str, Any]) -> None:
    """Train for ``seconds`` in the run folder ``run`` with ``num_envs`` and ``seed``, named by ``settings``."""
    report, stop = to_parent(settings["seconds"]), Stop()
    training = Training("a2c", config_of(settings["num_envs"], settings["seed"], settings["run"]), stop=stop)
    learner, step = training.parts.learner, training.parts.learner.step

    def reported(*arguments: Any, **options: Any) -> Any:
        metrics = step(*arguments, **options)
        if report(learner.steps):
            stop.number = signal.SIGTERM  # as if the user had asked to stop
        return metrics

    learner.step = reported  # type: ignore[method-assign]
    with suppress(Stopped):
        training.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
