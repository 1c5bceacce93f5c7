"""A2C of Stable-Baselines3: ``python -m peers.sb3_a2c SETTINGS``, where SETTINGS is JSON."""

# mypy: disable-error-code="import-not-found, import-untyped", disallow-subclassing-any = False

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from .pool import BUTTONS, FRAME, Batch
from .reporting import Report, to_parent

FOREVER = 10**12
"""Budget in steps that is never reached."""


class PoolVecEnv(VecEnv):
    """A batch of EnvPool's as a VecEnv: one call per step."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.actions = np.zeros(batch.num_envs, np.int64)
        self.nothing: list[dict[str, Any]] = [{} for _ in range(batch.num_envs)]
        super().__init__(batch.num_envs, Box(0, 255, FRAME, np.uint8), Discrete(len(BUTTONS)))

    def reset(self) -> Any:
        """Begin all episodes and return images [B, C, H, W]."""
        return self.batch.reset()

    def step_async(self, actions: Any) -> None:
        """Store the actions [B] for ``step_wait``."""
        self.actions = actions

    def step_wait(self) -> Any:
        """Take the stored actions; return images, rewards, dones and infos."""
        image, reward, terminated, truncated, last = self.batch.step(self.actions)
        done, infos = terminated | truncated, self.nothing
        if last is not None:
            infos = [
                {"terminal_observation": last[i], "TimeLimit.truncated": bool(truncated[i])} if done[i] else {}
                for i in range(len(done))
            ]
        return image, reward, done, infos

    def close(self) -> None:
        """End the simulators."""
        self.batch.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, which all environments of a batch share."""
        return [None if attr_name == "render_mode" else getattr(self.batch, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise NotImplementedError: environments of a batch have no attributes of their own."""
        raise NotImplementedError(f"{attr_name}: VecEnv asks for this method, and A2C's training never calls it")

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **options: Any) -> list[Any]:
        """Raise NotImplementedError: environments of a batch have no methods of their own."""
        raise NotImplementedError(f"{method_name}: VecEnv asks for this method, and A2C's training never calls it")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return False for each environment."""
        return [False] * self.num_envs


class Reporting(BaseCallback):
    """Reports the steps so far whenever an update has ended, which is when the next rollout begins."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report, self.stops = report, False

    def _on_rollout_start(self) -> None:
        self.stops = self.report(self.num_timesteps)

    def _on_step(self) -> bool:
        return not self.stops


def main(settings: dict[str, Any]) -> None:
    """Train for ``seconds``, of which ``settings`` has the number beside ``num_envs``, ``seed``, ``pool_threads``,
    ``torch_threads`` and the arguments of A2C, ``a2c``.
    """
    report = to_parent(settings["seconds"])
    torch.set_num_threads(settings["torch_threads"])
    env = PoolVecEnv(Batch(settings["num_envs"], settings["pool_threads"], settings["seed"]))
    try:
        agent = A2C("CnnPolicy", env, device="cpu", seed=settings["seed"], **settings["a2c"])
        agent.learn(FOREVER, callback=Reporting(report))
    finally:
        env.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
