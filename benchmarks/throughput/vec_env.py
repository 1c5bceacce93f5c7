"""Adapter from our batched environments to Stable-Baselines3; importing this module requires that library."""

# mypy: disable-error-code="import-not-found, import-untyped", disallow-subclassing-any = False

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.vec_env import VecEnv

from ...envs.vector_env import VectorEnv
from .same_step import SameStep


class BatchedVecEnv(VecEnv):
    """A `VectorEnv` of images as a VecEnv: one call per step for the whole batch, without copies on a CPU."""

    def __init__(self, env: VectorEnv) -> None:
        self.batch = SameStep(env)
        self.actions = np.zeros(env.num_envs, np.int64)
        shape, _ = env.spec.observation["image"]
        super().__init__(env.num_envs, Box(0, 255, shape, np.uint8), Discrete(env.spec.num_actions))

    def reset(self) -> Any:
        """Reset all environments and return images [B, H, W, C].

        The seed of environment 0 is that of the batch, whose environments differ by their index.
        """
        seed = self._seeds[0]
        self._reset_seeds()
        return self.batch.reset(seed)

    def step_async(self, actions: Any) -> None:
        """Store the actions [B] for ``step_wait``."""
        self.actions = actions

    def step_wait(self) -> Any:
        """Take the stored actions; return images, rewards, dones and infos."""
        return self.batch.step(self.actions)

    def close(self) -> None:
        """Do nothing: no resources are held."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, which all environments of a batch share."""
        value = None if attr_name == "render_mode" else getattr(self.batch.env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise NotImplementedError: this is not possible for one environment of a batch."""
        # Part of Stable-Baselines3's interface, which its A2C never calls.
        raise NotImplementedError("environments of a batch have no attributes of their own")

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **options: Any) -> list[Any]:
        """Raise NotImplementedError: this is not possible for one environment of a batch."""
        # Likewise: no agent that is measured here calls it.
        raise NotImplementedError("environments of a batch have no methods of their own")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return False for each environment."""
        return [False for _ in self._get_indices(indices)]
