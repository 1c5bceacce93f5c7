"""CartPole-v1 with one set of tensor operations for all environments: fast enough to train agents by the dozen."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...envs.arguments import as_action, as_mask
from ...envs.experience import Spec, Timestep
from ...envs.rows import write_rows
from ...envs.vector_env import VectorEnv

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
MASS, MOMENT = CART_MASS + POLE_MASS, POLE_MASS * HALF_LENGTH
FARTHEST, STEEPEST = 2.4, 12 * math.pi / 180
LIMIT, SPREAD = 500, 0.05


def advanced(state: Tensor, action: Tensor) -> Tensor:
    """Return the states [B, 4] (position, velocity, angle, angular velocity) one Euler step after pushing left (action
    0) or right (1) (Barto, Sutton and Anderson 1983; the friction is 0, as in Gymnasium).
    """
    velocity, angle, spin = state[:, 1], state[:, 2], state[:, 3]
    sine, cosine = angle.sin(), angle.cos()
    push = (FORCE * (2 * action - 1) + MOMENT * spin.square() * sine) / MASS
    turning = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4 / 3 - POLE_MASS * cosine.square() / MASS))
    pushing = push - MOMENT * turning * cosine / MASS
    return state + SECONDS * torch.stack([velocity, pushing, spin, turning], -1)


class CartPole(VectorEnv):
    """B poles on carts, with the dynamics, rewards and limits of Gymnasium's CartPole-v1."""

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        self.num_envs = num_envs
        self.spec = Spec(
            observation={"vector": ((4,), torch.float32)},
            num_actions=2,
            action_names=("left", "right"),
            tasks=("balance",),
            frames_per_step=1,
            max_steps=LIMIT,
            resumable=False,
        )
        self._generator = torch.Generator().manual_seed(seed)
        self._state = torch.zeros(num_envs, 4, dtype=torch.float64)
        self._age = torch.zeros(num_envs, dtype=torch.int64)
        self._over = torch.zeros(num_envs, dtype=torch.bool)
        self._task = torch.zeros(num_envs, dtype=torch.int64)

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes near the upright position where ``mask`` is True."""
        if seed is not None:
            self._generator.manual_seed(seed)
        begin = as_mask(mask, self.num_envs, self.device)
        return self._begin(begin, torch.zeros(self.num_envs), torch.ones(self.num_envs), None)

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Push every cart; where the pole had fallen or the time was over, begin the next episode."""
        action = as_action(action, self.num_envs, 2)
        begin = self._over
        self._state = advanced(self._state, action)
        self._age = self._age + 1
        fallen = (self._state[:, 0].abs() > FARTHEST) | (self._state[:, 2].abs() > STEEPEST)
        self._over = fallen | (self._age == LIMIT)
        return self._begin(begin, (~begin).float(), (begin | ~fallen).float(), out)

    def _begin(self, where: Tensor, reward: Tensor, discount: Tensor, out: Timestep | None) -> Timestep:
        """Begin new episodes ``where`` asked, and return the answer."""
        drawn = torch.rand(self.num_envs, 4, generator=self._generator, dtype=torch.float64)
        self._state = torch.where(where.unsqueeze(-1), (2 * drawn - 1) * SPREAD, self._state)
        self._age = self._age.masked_fill(where, 0)
        self._over = self._over & ~where
        seen = {"vector": self._state.float()}
        now = Timestep(seen, reward, discount, self._age == 0, self._over.clone(), self._task.clone(), {})
        return now if out is None else write_rows(now, out)
