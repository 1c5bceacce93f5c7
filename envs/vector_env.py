"""`VectorEnv`: what every environment is to the rest, and how it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor

from .experience import Spec, Timestep


class VectorEnv(Protocol):
    """B environments, torch-native and batched from the start.

    After ``reset`` every row is ``first``. ``step`` writes into the rows of ``out`` when given (same shapes,
    dtypes and device as a returned Timestep); without it, as ``reset`` always does, it answers in fresh memory, which
    is the caller's to keep. ``reset(mask=...)`` begins a new episode where mask is True and leaves the others as they
    were.

    A picture for people is optional, and looked up with getattr: ``render() -> NDArray[uint8] | None`` [H, W, 3] shows
    environment 0 as it was last answered. A family that must be told beforehand has the option ``render``.
    """

    num_envs: int
    spec: Spec

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed`` restarts the random streams."""
        ...

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Where the previous answer was ``last`` the action is ignored and a new
        episode begins: reward 0, discount 1, ``first``.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides the future, where ``spec.resumable``."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``: the next ``step`` answers as it would have then."""
        ...


@contextmanager
def closing(env: VectorEnv) -> Iterator[VectorEnv]:
    """``env``, closed at the end where it can be: simulators may hold processes, windows or files."""
    try:
        yield env
    finally:
        close = getattr(env, "close", None)
        if close is not None:
            close()
