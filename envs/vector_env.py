"""`VectorEnv`: what every environment is to the rest, with defaults for what not every environment has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import UserError
from .experience import Spec, Timestep

if TYPE_CHECKING:
    from .processes.restart_log import Faults

E = TypeVar("E", bound="VectorEnv")
Pixels = NDArray[np.uint8]


class Halves(Protocol):
    """The two halves of a step, with the simulation in between."""

    def send(self, action: Tensor) -> None:
        """Let the environments act: ``action`` [B] int64."""
        ...

    def recv(self, out: Timestep | None = None) -> Timestep:
        """Return the answer to what was sent."""
        ...


class Player(Protocol):
    """Whatever acts."""

    def __call__(self, timestep: Timestep) -> Tensor:
        """Return the actions [B] int64 to take next."""
        ...


class VectorEnv(ABC):
    """B environments, torch-native and batched from the start.

    After ``reset`` every row is ``first``. ``step`` writes into the rows of ``out`` when given (same shapes,
    dtypes and device as a returned Timestep); without it, as ``reset`` always does, it answers in fresh memory, which
    is the caller's to keep. ``reset(mask=...)`` begins a new episode where mask is True and leaves the others as they
    were.

    An environment has ``num_envs``, ``spec``, ``reset`` and ``step``, and state if ``spec.resumable``. All else has a
    default, which says that there is none of it. A wrapper forwards everything (`wrappers.base`).
    """

    num_envs: int
    spec: Spec
    device: torch.device = torch.device("cpu")
    """Where answers lie."""
    codes: bool = False
    """Whether the image is a grid of codes, of which no smaller or grey picture can be made."""
    num_cells: int | None = None
    """How many values ``info["cell"]`` may have, from 0; None where that is not known."""
    adopts: bool = False
    """Whether ``adopt`` can be called."""

    @property
    def capturable(self) -> bool:
        """On CUDA, ``step`` may be recorded in a graph: it neither waits nor decides anything on the host."""
        return False

    @property
    def restarts(self) -> list[int]:
        """[B], times each environment broke and was made anew; [] where none ever is."""
        return []

    @property
    def parts(self) -> Sequence[tuple[slice, Halves]]:
        """(columns, halves of their step) of the pools that take turns; without pools there is one part."""
        return [(slice(None), Lockstep(self))]

    @abstractmethod
    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed`` restarts the random streams."""

    @abstractmethod
    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Where the previous answer was ``last`` the action is ignored and a new
        episode begins: reward 0, discount 1, ``first``.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that decides the future. UserError unless ``spec.resumable``."""
        raise UserError(f"{', '.join(self.spec.tasks)} cannot save its state")

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``: the next ``step`` answers as it would have then. UserError unless
        ``spec.resumable``.
        """
        raise UserError(f"{', '.join(self.spec.tasks)} cannot load a state")

    def render(self) -> Pixels | None:
        """Draw environment 0 for people, as it was last answered: uint8 [H, W, 3]; None if it has no picture. A family
        that must be told beforehand has the option ``render``.
        """
        return None

    def top_view(self, height: int, width: int, trail: NDArray[np.float32]) -> Pixels | None:
        """Draw a map of environment 0 for people, uint8 [height, width, 3], with the positions [T, 2] where it has
        been; None if it has no map.
        """
        return None

    def oracle(self) -> Player | None:
        """Return a scripted player that knows what agents do not see, to be shown each Timestep in turn; None if there
        is none.
        """
        return None

    def wrap(self, wrapper: Callable[[VectorEnv, int], VectorEnv]) -> VectorEnv:
        """Return these environments in what ``wrapper(env, first)`` makes of them, or of each pool of them; ``first``
        is the number of the first of its environments.
        """
        return wrapper(self, 0)

    def adopt(self, rows: Timestep, faults: Faults, started: bool) -> Timestep:
        """Keep answers and faults in this memory from now on, where environments ``adopts``. ``started``: the ``rows``
        are those of environments like these, which continue there. The answer is what ``step`` may be given as ``out``,
        so that nothing is copied.
        """
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 (most have nothing to end)
        """End what runs: simulators may hold processes, threads, windows or files. Again is harmless."""


class Lockstep:
    """The halves of a vector environment that simulates when it is asked for the answer."""

    def __init__(self, env: VectorEnv) -> None:
        self._env = env

    def send(self, action: Tensor) -> None:
        """Keep ``action`` [B] int64 for ``recv``."""
        self._action = action

    def recv(self, out: Timestep | None = None) -> Timestep:
        """Step."""
        return self._env.step(self._action, out)


@contextmanager
def closing(env: E) -> Iterator[E]:
    """Yield ``env``, and close it at the end."""
    try:
        yield env
    finally:
        env.close()
