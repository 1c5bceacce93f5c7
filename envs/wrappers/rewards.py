"""Rewards of a common scale, so that one learning rate fits many tasks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UserError, suggest
from ..experience import Timestep
from ..vector_env import VectorEnv
from .base import Wrapper


def asymmetric(reward: Tensor) -> Tensor:
    """Return ``5 tanh(r / 5)``, times 0.3 where r < 0: optimistic asymmetric clipping for DMLab-30, as in the code
    released with Espeholt et al., "IMPALA" (ICML 2018).
    """
    squashed = 5.0 * torch.tanh(reward / 5.0)
    return torch.where(reward < 0, 0.3 * squashed, squashed)


def asymmetric_paper(reward: Tensor) -> Tensor:
    """Return ``0.3 min(tanh r, 0) + 5 max(tanh r, 0)``: the version in the paper's text, 5 times as steep at 0."""
    squashed = torch.tanh(reward)
    return 0.3 * squashed.clamp(max=0) + 5.0 * squashed.clamp(min=0)


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "raw": lambda reward: reward,
    "clip": lambda reward: reward.clamp(-1, 1),
    "sign": torch.sign,
    "asymmetric": asymmetric,
    "asymmetric-paper": asymmetric_paper,
}
"""Reward transformations: unchanged, clipped to [-1, 1], sign, `asymmetric` and `asymmetric_paper`."""


def shaped(reward: Tensor, how: str) -> Tensor:
    """Apply the transformation ``how``, a name of `SHAPES`, to ``reward`` of any shape."""
    return SHAPES[how](reward)


class Rewards(Wrapper):
    """Replaces rewards by `shaped` ones for all consumers, so that episode statistics sum these. The learner's own
    option leaves the environment's rewards in the statistics.
    """

    def __init__(self, env: VectorEnv, how: str = "clip") -> None:
        super().__init__(env)
        if how not in SHAPES:
            raise UserError(f"no reward transformation {how!r}; {suggest(how, SHAPES)}")
        self._how = how
        self._change("reward", dtype=torch.float32)

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        rows["reward"].copy_(shaped(now.reward, self._how))
