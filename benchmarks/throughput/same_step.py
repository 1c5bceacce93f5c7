"""A `VectorEnv` in Stable-Baselines3's convention, in NumPy."""

from __future__ import annotations

from typing import Any

import torch

from ...envs.experience import Timestep
from ...envs.trees import tree_map
from ...envs.vector_env import VectorEnv


class SameStep:
    """A `VectorEnv` of images in Stable-Baselines3's convention, in NumPy.

    In that convention, an environment that ends returns the first observation of its next episode, and its last
    observation is in ``infos[i]["terminal_observation"]``. Two buffers are used in turn, since the observation before a
    step must remain valid after it.
    """

    def __init__(self, env: VectorEnv) -> None:
        self.env = env
        begun = env.reset()
        self._device = begun.reward.device
        self._answers: list[Timestep] = [tree_map(torch.clone, begun) for _ in range(2)]
        self._nothing: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]

    def reset(self, seed: int | None = None) -> Any:
        """Reset all environments and return images [B, H, W, C] uint8."""
        return self.env.reset(seed).observation["image"].cpu().numpy().copy()

    def step(self, action: Any) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Take actions [B]; return images, rewards [B] float32, dones [B] bool and infos.

        They are valid until the step after the next.
        """
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
