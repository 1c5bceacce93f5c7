"""Two pools that alternate: while the agent acts in one, the other simulates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import as_action, as_mask
from ..cell_map import CellMap
from ..errors import UserError
from ..experience import Timestep
from ..rows import leaves, matching_rows
from ..trees import tree_map
from ..vector_env import VectorEnv


class Pool(VectorEnv):
    """A vector environment whose step is split into two halves, with the simulation in between."""

    @abstractmethod
    def send(self, action: Tensor) -> None:
        """Start a step: ``action`` [B] int64."""

    @abstractmethod
    def recv(self, out: Timestep | None = None) -> Timestep:
        """Return the answer to the actions sent."""


class Alternating(VectorEnv):
    """B environments in two ``parts``, (columns, pool) each; can also be used as an ordinary vector environment.

    ``make(num_envs, env_offset)`` makes a pool. To overlap simulation and acting, send to one part before receiving
    from the other, as the actor does.
    """

    def __init__(self, make: Callable[[int, int], Pool], num_envs: int, env_offset: int = 0) -> None:
        if num_envs < 2:
            raise UserError(f"two pools need at least 2 environments, not {num_envs}")
        half = num_envs - num_envs // 2
        self._parts = [
            (slice(0, half), make(half, env_offset)),
            (slice(half, num_envs), make(num_envs - half, env_offset + half)),
        ]
        self.num_envs, self.spec, self.device = num_envs, self._parts[0][1].spec, self._parts[0][1].device
        self.codes, self.num_cells = self._parts[0][1].codes, self._parts[0][1].num_cells
        self._shapes: Timestep | None = None  # of an answer, on the meta device

    @property
    def parts(self) -> list[tuple[slice, Pool]]:
        """(columns, pool) of both parts."""
        return self._parts

    @property
    def restarts(self) -> list[int]:
        """Number of times each environment [B] was recreated; [] if that is not supported."""
        return [count for _, pool in self._parts for count in pool.restarts]

    def wrap(self, wrapper: Callable[[Any, int], Any]) -> VectorEnv:
        """Wrap each pool in ``wrapper(pool, first)``, where ``first`` is the index of its first column."""
        self._parts = [(columns, wrapper(pool, columns.start)) for columns, pool in self._parts]
        self.spec = self._parts[0][1].spec
        return self

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True."""
        begin = as_mask(mask, self.num_envs)
        if seed is not None and not begin.all():
            raise UserError("two pools give a new seed to all environments or to none")
        answers = [pool.reset(seed, begin[columns]) for columns, pool in self._parts]
        answer: Timestep = tree_map(lambda *halves: torch.cat(halves), *answers)
        self._shapes = tree_map(lambda x: x.to("meta"), answer)
        return answer

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64, in both parts at once."""
        if self._shapes is None:
            raise UserError("reset the environment before its first step")
        action = as_action(action, self.num_envs, self.spec.num_actions)
        if out is None:
            out = tree_map(lambda x: torch.empty_like(x, device=self.device), self._shapes)
        else:
            matching_rows(leaves(self._shapes), out)  # before any state changes
        for columns, pool in self._parts:
            pool.send(action[columns])
        for columns, pool in self._parts:
            pool.recv(part_of(out, columns))
        return out

    def stagger(self) -> None:
        """Advance the clocks of the current episodes to different times, in each pool."""
        for _, pool in self.parts:
            pool.stagger()

    def render(self) -> NDArray[np.uint8] | None:
        """Draw environment 0 for human viewers, if its pool supports it."""
        return self._parts[0][1].render()

    def cell_map(self, task: int = 0) -> CellMap | None:
        """Return the map of the cells of a task, the same in both parts."""
        return self._parts[0][1].cell_map(task)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of both parts, where ``spec.resumable``."""
        states = [pool.state_dict() for _, pool in self._parts]
        return {f"{i}.{k}": v for i, state in enumerate(states) for k, v in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        for i, (_, pool) in enumerate(self._parts):
            pool.load_state_dict({k.removeprefix(f"{i}."): v for k, v in state.items() if k.startswith(f"{i}.")})

    def close(self) -> None:
        """Close both parts."""
        for _, pool in self._parts:
            pool.close()


def part_of(step: Timestep, columns: slice) -> Timestep:
    """Return the environments ``columns`` of ``step``; views."""
    part: Timestep = tree_map(lambda x: x[columns], step)
    return part
