"""Frame stacking: the last images, concatenated along the channels, show motion to an agent without memory.

Mnih et al., "Human-level control through deep reinforcement learning" (Nature 2015) stack four.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..experience import Timestep
from ..vector_env import VectorEnv
from .base import Wrapper


class FrameStack(Wrapper):
    """The last ``n`` images as one of n * C channels, oldest first. In the first row of an episode all n are that row's
    image.
    """

    def __init__(self, env: VectorEnv, n: int = 4) -> None:
        super().__init__(env)
        if n < 1:
            raise UserError(f"the number n of stacked images must be at least 1, not {n}")
        height, width, channels = self._image_shape()
        self._resized(height, width, n * channels)
        self.spec = self.spec._replace(stacked=n * self.spec.stacked)
        self._stack = self._memory(height, width, n, channels)
        self._state["stack"] = self._stack
        flat = self._stack.view(-1)
        # Shifting by one image moves the whole memory by C bytes; bytes that cross pixels are then overwritten.
        self._kept, self._moved = flat[:-channels], flat[channels:]
        self._between = torch.empty_like(self._kept)  # a tensor cannot be copied onto an overlapping part of itself

    def _update(self, now: Timestep, begun: Tensor, stepped: bool) -> None:
        newest = now.observation["image"]
        if stepped:
            self._kept.copy_(self._between.copy_(self._moved))
        self._stack[..., -1, :] = newest
        if self.device.type == "cpu":  # indexing needs no synchronisation; few begin at a time
            where = begun.nonzero().squeeze(-1)
            self._stack[where] = newest[where].unsqueeze(-2)
        else:
            torch.where(begun.view(-1, 1, 1, 1, 1), newest.unsqueeze(-2), self._stack, out=self._stack)

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        rows["image"].copy_(self._stack.flatten(-2))
