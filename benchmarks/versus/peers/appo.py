"""APPO of Sample Factory: ``python -m peers.appo SETTINGS``, where SETTINGS is JSON."""

# mypy: disable-error-code="import-not-found, import-untyped", disallow-subclassing-any = False

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
from functools import partial
from types import FrameType
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from sample_factory.algo.runners.runner import AlgoObserver, Runner
from sample_factory.algo.utils.misc import ExperimentStatus
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner

from .pool import ACTION_REPEAT, BUTTONS, FRAME, TASK, Batch
from .reporting import Report, leave, to_parent


class BatchedEnv(gymnasium.Env):
    """A batch of EnvPool's as Sample Factory's batched sampling takes it: one environment of many agents."""

    observation_space = Box(0, 255, FRAME, np.uint8)
    action_space = Discrete(len(BUTTONS))

    def __init__(self, batch: Batch) -> None:
        self.batch, self.num_agents, self.is_multiagent = batch, batch.num_envs, True

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin all episodes and return images [B, C, H, W]; the seed was given when EnvPool was made."""
        return self.batch.reset(), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take actions [B]; return images, rewards, which episodes were terminated and truncated, and no infos."""
        image, reward, terminated, truncated, _ = self.batch.step(action)
        return image, reward, terminated, truncated, {}

    def close(self) -> None:
        """End the simulators."""
        self.batch.close()


def make_env(
    agents: int, threads: int, seed: int, name: str, cfg: Any, env_config: Any, render_mode: str | None = None
) -> BatchedEnv:
    """Return a batch of ``agents`` environments, in the process that simulates them."""
    number = 0 if env_config is None else env_config.env_id
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGTERM, close_and_leave)
    env = BatchedEnv(Batch(agents, threads, seed + agents * number))
    MADE.append(env)
    return env


MADE: list[BatchedEnv] = []
"""Environments of this process."""


def close_and_leave(number: int, frame: FrameType | None) -> None:
    """End the simulators of this process and raise SystemExit, as the handler of a signal."""
    close()
    leave(number, frame)


def close() -> None:
    """End the simulators of this process, and have its workers end theirs."""
    for env in MADE:
        env.close()
    for worker in multiprocessing.active_children():
        worker.terminate()


class Reporting(AlgoObserver):
    """Reports the steps that the learner has learned from, after each of its updates, and ends training."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def on_training_step(self, runner: Runner, training_iteration_since_resume: int) -> None:
        """Report the sum over policies; when told to stop, lower the budget, which the runner then finds spent."""
        if self.report(sum(runner.env_steps.values())):
            runner.cfg.train_for_env_steps = 0


def main(settings: dict[str, Any]) -> int:
    """Train for ``seconds``, of which ``settings`` has the number beside ``num_envs``, ``seed``, ``pool_threads``,
    ``torch_threads``, which hold in serial mode (else each process has one), and ``flags``, Sample Factory's own.
    Files go to the working directory. Return 0, or the library's status if it failed.
    """
    report = to_parent(settings["seconds"])
    torch.set_num_threads(settings["torch_threads"])
    flags = settings["flags"]
    agents = settings["num_envs"] // (flags["num_workers"] * flags["num_envs_per_worker"])
    register_env(TASK, partial(make_env, agents, settings["pool_threads"], settings["seed"]))
    given = {
        "env": TASK,
        "device": "cpu",
        "seed": settings["seed"],
        "train_dir": "runs",
        "experiment": "versus",
        "env_frameskip": ACTION_REPEAT,
        "summaries_use_frameskip": False,  # steps are counted, not frames
        **flags,
    }
    words = [f"--{name}={value}" for name, value in given.items()]
    parser, _ = parse_sf_args(words)
    _, runner = make_runner(parse_full_cfg(parser, words))
    runner.register_observer(Reporting(report))
    try:
        if (status := runner.init()) == ExperimentStatus.SUCCESS:
            status = runner.run()
    except BaseException:
        close()
        raise
    return int(status)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
