"""What a user would pick instead: MiniWorld's maze, and Stable-Baselines3's A2C on our environments."""

from __future__ import annotations

import contextlib
import io
import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from ..agents.parts import environment
from ..agents.presets import Config
from ..envs.experience import Timestep, VectorEnv, tree_map
from .timing import Part

PEERS = {"stable_baselines3": "Stable-Baselines3", "miniworld": "MiniWorld"}
"""Modules and what they are called."""
MAZE = "MiniWorld-MazeS3-v0"
"""MiniWorld's small maze, the faster one: 3 x 3 rooms, episodes of at most 216 steps."""
OPENGL = "apt-get install libgl1 libegl1 libglu1-mesa (or, for an X server: xvfb)"


class UnavailableError(Exception):
    """A peer cannot be measured here; the message says why, and the way out."""


def _installed(module: str) -> None:
    if find_spec(module) is None:
        raise UnavailableError(f"{PEERS[module]} is not installed and was not measured: pip install 'morello[peers]'")


def miniworld(config: Config) -> Part:
    """One process of MiniWorld's maze with a random policy, as its users run it; a step is one frame of it.

    Mesa may draw with several threads: "per core" is then generous to it. Raises UnavailableError.
    """
    _installed("miniworld")
    import_module("pyglet").options["headless"] = "DISPLAY" not in os.environ  # heeded when a window is first opened
    height, width = config.frame_size or (84, 84)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how many samples a pixel it settled for
            import_module("miniworld")
            env: Any = import_module("gymnasium").make(MAZE, obs_height=height, obs_width=width)
            env.reset(seed=config.seed)
    except Exception as error:  # ctypes, EGL, GLX or Mesa: each fails in its own way
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
    """Stable-Baselines3's A2C, with its defaults, on the same level, network and batch. Raises UnavailableError."""
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


class SameStep:
    """A `VectorEnv` of images in Stable-Baselines3's convention, in NumPy.

    There an environment that ends answers with the first observation of its next episode, and the last one is in
    ``infos[i]["terminal_observation"]``. Two answers take turns, since the observation before a step must outlive it.
    """

    def __init__(self, env: VectorEnv) -> None:
        self.env = env
        begun = env.reset()
        self._device = begun.reward.device
        self._answers: list[Timestep] = [tree_map(torch.clone, begun) for _ in range(2)]
        self._nothing: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]

    def reset(self, seed: int | None = None) -> Any:
        """Images [B, H, W, C] uint8."""
        return self.env.reset(seed).observation["image"].cpu().numpy().copy()

    def step(self, action: Any) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Actions [B] -> images, rewards [B] float32, dones [B] bool, infos; valid until the step after the next."""
        self._answers.reverse()
        answer = self.env.step(torch.from_numpy(action).to(self._device), out=self._answers[0])
        image, done = answer.observation["image"].cpu().numpy(), answer.last.cpu().numpy()
        infos = self._nothing
        if done.any():
            truncated = answer.discount.cpu().numpy() == 1
            infos = [
                {"terminal_observation": image[i].copy(), "TimeLimit.truncated": bool(truncated[i])} if ended else {}
                for i, ended in enumerate(done.tolist())
            ]
            begun = self.env.reset(mask=answer.last)
            image[done] = begun.observation["image"].cpu().numpy()[done]
        return image, answer.reward.cpu().numpy(), done, infos
