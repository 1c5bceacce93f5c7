"""Sticky actions: stochasticity that defeats open-loop action sequences.

Machado et al., "Revisiting the Arcade Learning Environment: evaluation protocols and open problems for general agents"
(JAIR 2018), section 5.2: with probability 0.25 the environment executes its previous action again.
"""

from __future__ import annotations

from torch import Tensor, where

from ..errors import UserError
from ..experience import Timestep
from ..vector_env import VectorEnv
from .base import RandomWrapper
from .random import uniform


class StickyActions(RandomWrapper):
    """With probability ``p`` an environment repeats the action it executed at the previous step, which may itself have
    been a repetition. The first action of an episode is always the agent's own.

    One draw is made per agent step; the Arcade Learning Environment draws for every frame.
    """

    STREAM = int.from_bytes(b"StickyAc", "big")

    def __init__(self, env: VectorEnv, p: float = 0.25, *, seed: int = 0, env_offset: int = 0) -> None:
        super().__init__(env, seed, env_offset)
        if not 0 <= p <= 1:
            raise UserError(f"p is the probability that an action is repeated, 0 to 1, not {p}")
        self._p = p
        self._state["previous"] = self._each(-1)  # executed; -1 at the first row of an episode

    def _act(self, action: Tensor) -> Tensor:
        previous = self._state["previous"]
        repeat = (uniform(self._bits()) < self._p) & (previous >= 0)
        self._executed = where(repeat, previous, self._checked(action))
        return self._executed

    def _update(self, now: Timestep, begun: Tensor, stepped: bool) -> None:
        previous = self._state["previous"]
        if stepped:
            previous.copy_(self._executed)
        previous.masked_fill_(begun, -1)
        self._state["count"].add_(int(stepped))
