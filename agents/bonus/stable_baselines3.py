"""A callback for on-policy algorithms of Stable-Baselines3 (PPO, A2C, those of sb3-contrib) that adds a reward.

from stable_baselines3 import PPO
from morello.agents.bonus.stable_baselines3 import BonusCallback

PPO("CnnPolicy", env).learn(100_000, callback=BonusCallback("rnd", weight=0.5))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first

from ...envs.errors import UserError
from .bonus import Bonus, intrinsic, weight_of


class BonusCallback(BaseCallback):  # type: ignore[misc]
    """Adds ``weight`` times the intrinsic reward ``name`` to the rewards of each rollout, and its part to the returns
    and advantages. With one value function there is one return: of both rewards, with the trainer's discount.

    Further ``settings`` are those of the reward. The step at which an episode ends gets no intrinsic reward, because
    the observation after it is already that of the next episode. ``state``: what ``callback.bonus.state_dict()`` gave
    in an earlier run, to go on from there.
    """

    def __init__(
        self,
        name: str,
        weight: float = 1.0,
        seed: int = 0,
        state: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.name, self.weight, self.seed, self.settings = name, weight_of(weight), seed, settings
        self.state = state
        self.bonus: Bonus | None = None
        """The reward, from the beginning of training on."""

    def _on_training_start(self) -> None:
        if not hasattr(self.model, "rollout_buffer"):
            raise UserError(
                f"{type(self.model).__name__} collects no rollouts: use PPO, A2C or one of sb3-contrib that does"
            )
        space: Any = self.model.observation_space
        self.first = is_image_space(space) and is_image_space_channels_first(space)
        if self.first:  # Stable-Baselines3 moves the channels to the front
            space = spaces.Box(0, 255, (*space.shape[1:], space.shape[0]), np.uint8)
        if self.bonus is None:
            device = self.model.device
            self.bonus = intrinsic(
                self.name, (space, self.model.action_space), seed=self.seed, device=device, **self.settings
            )
            if self.state is not None:
                self.bonus.load_state_dict(self.state)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        buffer = model.rollout_buffer
        done = np.asarray(self.locals["dones"])
        observation = np.concatenate([buffer.observations, self.locals["new_obs"][None]])
        if self.first:
            observation = np.moveaxis(observation, 2, -1)
        first = np.concatenate([buffer.episode_starts, done[None]]).astype(bool)
        assert self.bonus is not None
        action = buffer.actions.reshape(buffer.rewards.shape)
        reward = self.bonus(observation, action, first, buffer.rewards.copy())
        extra = self.weight * reward.cpu().numpy()
        # Advantages are linear in the rewards: those of the extra reward alone are added to those that there are.
        advantage, after = np.zeros_like(extra), np.zeros_like(extra[0])
        for t in reversed(range(len(extra))):
            after = extra[t] + buffer.gamma * buffer.gae_lambda * np.where(first[t + 1], 0.0, after)
            advantage[t] = after
        buffer.rewards += extra
        buffer.advantages += advantage
        buffer.returns += advantage
        for key, value in self.bonus.metrics.items():
            self.logger.record(f"{self.name}/{key}", value)
