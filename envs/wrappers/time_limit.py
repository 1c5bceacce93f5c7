"""Time limits. A time limit is not a termination: the discount stays 1, and the value of the continuation is included
(Pardo et al., "Time limits in reinforcement learning", ICML 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, logical_or, where

from ..errors import UserError, beyond_limit
from ..experience import Timestep
from ..rows import leaves
from ..vector_env import VectorEnv
from .base import Wrapper


class TimeLimit(Wrapper):
    """Ends an episode after at most ``steps`` agent steps, without changing its discount. UserError for a limit beyond
    the environment's own, which could not be reached.

    The environment inside does not take part in that end: the next step begins a new episode in it by a masked reset.
    Before that it takes one step, with action 0, like all the others; the result is discarded.
    """

    def __init__(self, env: VectorEnv, steps: int) -> None:
        super().__init__(env)
        if steps < 1:
            raise UserError(f"an episode takes at least 1 step, so its limit cannot be {steps}")
        if steps > (env.spec.max_steps or steps):
            raise UserError(beyond_limit(", ".join(env.spec.tasks), env.spec.max_steps))
        self._steps = steps
        self.spec = env.spec._replace(max_steps=steps)
        self._change("last", dtype=torch.bool)
        # Steps of the current episode, and whether the limit ended it while the environment inside continues.
        self._state |= {"elapsed": self._each(0), "cut": self._each(False)}
        self._quiet_steps = 0
        self._begin: Tensor | None = None  # those that this step resets

    @property
    def capturable(self) -> bool:
        """Always False: the host decides which steps need a reset."""
        return False

    def _act(self, action: Tensor) -> Tensor:
        self._begin = self._cut_anywhere()
        return action if self._begin is None else where(self._begin, 0, self._checked(action))

    def _then(self, now: Timestep, out: Timestep | None) -> Timestep:
        cut = self._begin
        if cut is None:
            return now
        anew: Timestep = self.env.reset(mask=cut)
        if out is None:
            return anew  # rows outside the mask are unchanged since `step`
        rows = leaves(now)
        for name, begun in leaves(anew).items():
            row = rows[name]
            where(cut.view(-1, *[1] * (row.dim() - 1)), begun, row, out=row)
        return now

    def _cut_anywhere(self) -> Tensor | None:
        """Return [B] bool, the environments whose episode the limit ended; None if there are none.

        The host reads the device only when an episode can have reached the limit since the last read.
        """
        if self._quiet_steps > 0:
            self._quiet_steps -= 1
            return None
        longest = int(self._state["elapsed"].max())
        if longest == self._steps:
            return self._state["cut"].clone()
        self._quiet_steps = self._steps - longest - 1
        return None

    def _update(self, now: Timestep, begun: Tensor, stepped: bool) -> None:
        elapsed, cut = self._state["elapsed"], self._state["cut"]
        elapsed.add_(int(stepped)).masked_fill_(begun, 0)
        cut.copy_((elapsed == self._steps) & ~now.last)

    def _write(self, now: Timestep, rows: dict[str, Tensor]) -> None:
        logical_or(now.last, self._state["cut"], out=rows["last"])

    def stagger(self) -> None:
        """Advance the clocks of the current episodes by 0 to B - 1 parts in B of the limit; inside, of theirs."""
        super().stagger()
        elapsed = self._state["elapsed"]
        elapsed.copy_(torch.arange(self.num_envs, device=elapsed.device) * self._steps // self.num_envs)
        self._quiet_steps = 0

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict`` of the same wrappers over the same environments, or raise UserError."""
        super().load_state_dict(state)
        self._quiet_steps = 0
