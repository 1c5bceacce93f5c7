"""The noisy television: unpredictable and irrelevant observations, to test which exploration bonuses they attract.

``channel="step"``: new noise in every row, whatever the agent does, as in Pathak et al., "Curiosity-driven
exploration by self-supervised prediction" (ICML 2017), where white noise fills 40 % of the image. ``channel="action"``:
a television with a remote control, as in Burda et al., "Large-scale study of curiosity-driven learning" (ICLR 2019): an
additional action changes the picture, which otherwise stays the same.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, where

from ..errors import UserError
from ..experience import Timestep
from ..vector_env import VectorEnv
from .base import RandomWrapper
from .random import random_bytes

REMOTE = "remote"


class NoisyTV(RandomWrapper):
    """Replaces the right-hand ``fraction`` of the image's width, rounded to the nearest column and at least one, by
    uniform random bytes in all channels.

    ``channel="action"`` adds one last action: ``remote``. When it is taken, the environment inside executes action
    ``noop`` instead, and the resulting row shows a new picture, as does each first row.
    """

    STREAM = int.from_bytes(b"NoisyTV", "big")

    def __init__(
        self,
        env: VectorEnv,
        fraction: float = 0.4,
        channel: Literal["step", "action"] = "step",
        *,
        noop: int = 0,
        seed: int = 0,
        env_offset: int = 0,
    ) -> None:
        super().__init__(env, seed, env_offset)
        if not 0 < fraction <= 1:
            raise UserError(f"fraction, the noisy part of the image, must be above 0 and at most 1, not {fraction}")
        if channel not in ("step", "action"):
            raise UserError(f"channel, the trigger of new noise, must be 'step' or 'action', not {channel!r}")
        spec = env.spec
        if not 0 <= noop < spec.num_actions:
            raise UserError(f"noop is one of the {spec.num_actions} actions, 0 to {spec.num_actions - 1}, not {noop}")
        height, width, channels = self._image_shape()
        self._columns = max(1, round(fraction * width))
        self._picture = height, self._columns, channels
        self._change("image", height, width, channels, dtype=torch.uint8)
        self._noop, self._remote = noop, spec.num_actions if channel == "action" else None
        if self._remote is not None:
            names = (*spec.action_names, REMOTE)
            self.spec = spec._replace(num_actions=len(names), action_names=names)
            self._switched = self._each(False)

    def _act(self, action: Tensor) -> Tensor:
        if self._remote is None:
            return action
        action = self._checked(action)
        self._switched.copy_(action == self._remote)
        return where(self._switched, self._noop, action)

    def _update(self, now: Timestep, begun: Tensor, stepped: bool) -> None:
        if not stepped:
            changed = begun
        elif self._remote is None:
            changed = self._each(True)
        else:
            changed = self._switched | begun
        self._state["count"].add_(changed)

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        height, width, channels = self._picture
        noise = random_bytes(self._bits(), height * width * channels)
        image = rows["image"].copy_(now.observation["image"])  # no copy where they are the same memory
        image[:, :, -self._columns :] = noise.view(self.num_envs, *self._picture)
