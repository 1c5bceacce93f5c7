"""Training of our agent, with the log of its episodes."""

from __future__ import annotations

from ...agents.config.build import build
from ...agents.config.config import Config
from ...agents.runners import RUNNERS
from ...agents.training.recorder import Recorder
from ...envs.vector_env import closing
from .episodes import EpisodeLog


def train(config: Config, log: EpisodeLog) -> None:
    """Train with resolved settings, and with the metrics of ``morello train``, but without a run folder.

    Raises NonFiniteError if training diverges.
    """
    parts = build(config)
    recorder = Recorder(config, parts)
    with closing(parts.env):
        runner = RUNNERS[config.runner](parts.actor, parts.learner)
        recorded = 0
        recorder.begin()
        log.start()
        for rollout, metrics in runner:
            log.rollout(rollout)
            recorder.add(rollout, metrics)
            if parts.learner.steps - recorded >= config.log_every or parts.learner.steps >= config.steps:
                recorded = parts.learner.steps
                recorder.record(runner)
            log.updated()
