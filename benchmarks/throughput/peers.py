"""Alternatives to compare with: MiniWorld's maze, and Stable-Baselines3's A2C on our environments."""

from __future__ import annotations

import contextlib
import io
import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from ...agents.config.build import environment
from ...agents.config.config import Config
from ..timing import Part

PEERS = {"stable_baselines3": "Stable-Baselines3", "miniworld": "MiniWorld"}
"""Names of the peers by module."""

MAZE = "MiniWorld-MazeS3-v0"
"""MiniWorld's small maze, the faster of its mazes: 3 x 3 rooms, episodes of at most 216 steps."""

OPENGL = "apt-get install libgl1 libegl1 libglu1-mesa (or, for an X server: xvfb)"


class UnavailableError(Exception):
    """A peer cannot be measured here; the message gives the reason and the remedy."""


def _installed(module: str) -> None:
    if find_spec(module) is None:
        raise UnavailableError(f"{PEERS[module]} is not installed and was not measured: pip install 'morello[peers]'")


def miniworld(config: Config) -> Part:
    """Return the part of MiniWorld's maze with a random policy in one process; a step is one of its frames.

    Mesa may render with several threads, so a comparison per core may favour it. Raises UnavailableError.
    """
    _installed("miniworld")
    import_module("pyglet").options["headless"] = "DISPLAY" not in os.environ  # read when a window is first opened
    height, width = config.frame_size or (84, 84)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the number of samples per pixel
            import_module("miniworld")
            env: Any = import_module("gymnasium").make(MAZE, obs_height=height, obs_width=width)
            env.reset(seed=config.seed)
    except Exception as error:  # ctypes, EGL, GLX and Mesa raise different exceptions
        reason = " ".join(str(error).split())
        raise UnavailableError(
            f"MiniWorld could not draw and was not measured ({type(error).__name__}: {reason}). It needs a system "
            f"OpenGL: {OPENGL}"
        ) from error
    renderer = import_module("pyglet.gl").gl_info.get_renderer()
    generator = np.random.default_rng(config.seed)

    def run(calls: int) -> None:
        for action in generator.integers(env.action_space.n, size=calls).tolist():
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return Part(f"{MAZE}, random actions, one process, {renderer}", 1, run)


def stable_baselines3(config: Config) -> Part:
    """Return the part of Stable-Baselines3's A2C, with its defaults, on the same level, network and batch.

    Raises UnavailableError.
    """
    _installed("stable_baselines3")
    env = environment(config, config.num_envs, config.seed)
    if set(env.spec.observation) != {"image"} or config.torso not in ("auto", "nature") or config.memory != "none":
        raise UnavailableError("Stable-Baselines3 was not measured: its network is the Nature CNN, without memory")
    from .vec_env import BatchedVecEnv

    logger = import_module("stable_baselines3.common.logger").Logger(folder=None, output_formats=[])
    agent = import_module("stable_baselines3").A2C(
        "CnnPolicy", BatchedVecEnv(env), n_steps=config.unroll, device=config.device, seed=config.seed
    )
    agent.set_logger(logger)
    steps = config.unroll * config.num_envs

    def run(calls: int) -> None:
        agent.learn(calls * steps, reset_num_timesteps=False)

    return Part("learn of its A2C, same level, network and batch", steps, run, torch.get_num_threads())
