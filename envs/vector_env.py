"""`VectorEnv`: the interface of every environment, with defaults for its optional parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .cell_map import CellMap
from .errors import UserError
from .experience import Spec, Timestep

if TYPE_CHECKING:
    from .processes.restart_log import Faults

E = TypeVar("E", bound="VectorEnv")
Pixels = NDArray[np.uint8]


class Halves(Protocol):
    """The two halves of a step, with the simulation in between."""

    def send(self, action: Tensor) -> None:
        """Start a step: ``action`` [B] int64."""
        ...

    def recv(self, out: Timestep | None = None) -> Timestep:
        """Return the answer to the actions sent."""
        ...


class Player(Protocol):
    """A policy, scripted or learned."""

    def __call__(self, timestep: Timestep) -> Tensor:
        """Return the actions [B] int64 to take next."""
        ...


class VectorEnv(ABC):
    """B environments, torch-native and batched.

    After ``reset`` every row is ``first``. ``step`` writes into the rows of ``out`` when given (same shapes,
    dtypes and device as a returned Timestep); without it, and always in ``reset``, the answer is in new memory that the
    caller may keep. ``reset(mask=...)`` begins a new episode where mask is True and leaves the other environments
    unchanged.

    A subclass provides ``num_envs``, ``spec``, ``reset`` and ``step``, and the state methods if ``spec.resumable``. All
    other members default to "not available". A wrapper forwards everything (`wrappers.base`).
    """

    num_envs: int
    spec: Spec
    device: torch.device = torch.device("cpu")
    """Device of the returned tensors."""
    codes: bool = False
    """True if the image is a grid of category codes, which can be neither resized nor converted to grey."""
    num_cells: int | None = None
    """Number of values that ``info["cell"]`` may take, from 0; None where unknown."""
    adopts: bool = False
    """True if ``adopt`` is supported."""

    @property
    def capturable(self) -> bool:
        """True if, on CUDA, ``step`` may be recorded in a graph: it neither synchronises nor branches on the host."""
        return False

    @property
    def restarts(self) -> list[int]:
        """Number of times each environment [B] broke and was recreated; [] if that is not supported."""
        return []

    @property
    def parts(self) -> Sequence[tuple[slice, Halves]]:
        """(columns, halves of their step) of each alternating pool; without pools there is a single part."""
        return [(slice(None), Lockstep(self))]

    @abstractmethod
    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed`` restarts the random streams."""

    @abstractmethod
    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Where the previous answer was ``last`` the action is ignored and a new
        episode begins: reward 0, discount 1, ``first``.
        """

    def stagger(self) -> None:  # noqa: B027 (most have no clock that can be set)
        """Advance the clocks of the current episodes by 0 to B - 1 parts in B of their time limit, by environment, so
        that episodes which last until the limit do not end at the same step. It does nothing where that is impossible.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that determines the future. UserError unless ``spec.resumable``."""
        raise UserError(f"{', '.join(self.spec.tasks)} cannot save its state")

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``: the next ``step`` answers as it would have at that time. UserError unless
        ``spec.resumable``.
        """
        raise UserError(f"{', '.join(self.spec.tasks)} cannot load a state")

    def render(self) -> Pixels | None:
        """Draw environment 0 for human viewers, as of the last answer: uint8 [H, W, 3]; None if it has no picture. A
        family that must know this beforehand has the option ``render``.
        """
        return None

    def top_view(self, height: int, width: int, trail: NDArray[np.float32], heat: bool = False) -> Pixels | None:
        """Draw a map of environment 0 for human viewers, uint8 [height, width, 3], with its past positions ``trail``
        [T, 2]: as a line or, with ``heat``, as the time spent in each cell. None if it has no map.
        """
        return None

    def cell_map(self, task: int = 0) -> CellMap | None:
        """Return the map of the cells of a task, for human viewers; None if it has none."""
        return None

    def oracle(self) -> Player | None:
        """Return a scripted player that knows more than agents observe and must be given every Timestep in turn; None
        if there is none.
        """
        return None

    def wrap(self, wrapper: Callable[[VectorEnv, int], VectorEnv]) -> VectorEnv:
        """Wrap these environments, or each pool of them, in ``wrapper(env, first)``, and return the result; ``first``
        is the index of the wrapped part's first environment.
        """
        return wrapper(self, 0)

    def adopt(self, rows: Timestep, faults: Faults, started: bool) -> Timestep:
        """Store answers and faults in the given memory from now on, where ``adopts`` is True. ``started``: the ``rows``
        hold the answers of equivalent environments, from which these continue. The returned Timestep may be passed to
        ``step`` as ``out``, which avoids a copy.
        """
        raise NotImplementedError  # callers look at ``adopts`` first

    def close(self) -> None:  # noqa: B027 (most need no cleanup)
        """Release processes, threads, windows and files of the simulators. Repeated calls have no effect."""


class Lockstep:
    """The halves of a vector environment that simulates when the answer is requested."""

    def __init__(self, env: VectorEnv) -> None:
        self._env = env

    def send(self, action: Tensor) -> None:
        """Store ``action`` [B] int64 for ``recv``."""
        self._action = action

    def recv(self, out: Timestep | None = None) -> Timestep:
        """Step the environments and return the answer."""
        return self._env.step(self._action, out)


@contextmanager
def closing(env: E) -> Iterator[E]:
    """Yield ``env``, and close it on exit."""
    try:
        yield env
    finally:
        env.close()
