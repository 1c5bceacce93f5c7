"""Interfaces of the backbones that heads, losses and rewards are built on."""

from __future__ import annotations

import abc
from typing import NamedTuple

from torch import Tensor, nn

from ..envs.trees import State


class Features(NamedTuple):
    """Activations of one unroll, shared by all losses and rewards. N = (T + 1) B, row-major."""

    map: Tensor | None  # [N, channels, height, width], the last convolutional one; None without image or reader
    vector: Tensor  # [T + 1, B, E], the torso's output
    memory: Tensor  # [T + 1, B, D], the input of the heads
    logits: Tensor  # [T + 1, B, A], of the current policy
    value: dict[str, Tensor]  # [T + 1, B] for each reward stream, by name


class Sizes(NamedTuple):
    """Widths of ``Features``, known before any forward pass."""

    map: tuple[int, int, int] | None  # channels, height, width
    vector: int  # E
    memory: int  # D


class SequenceModel(nn.Module, abc.ABC):
    """Memory over time, with one interface for policies, densities and contexts.

    ``forward`` takes ``x`` [T, B, E], the state before row 0 and ``first`` [T, B]. Where ``first`` is True, it resets
    the state to the initial one *before* it processes that row. It returns [T, B, D] and the state after row T - 1.
    T = 1 when acting; any split of an unroll gives the same output. ``cond`` [T, B, C] is side information, for models
    built with its width: ``Class(input_size, size, cond)``.

    ``x`` must be finite everywhere. Inputs before a reset do not affect values after it, but NaN there reaches the
    gradients and, through attention (a weight of 0 times NaN is NaN), the values too.
    """

    size: int  # D

    @abc.abstractmethod
    def initial_state(self, batch: int) -> State:
        """Return the state before the first input: a tree of batch-first tensors on the module's device."""

    @abc.abstractmethod
    def forward(self, x: Tensor, state: State, first: Tensor, cond: Tensor | None = None) -> tuple[Tensor, State]:
        """Map ``x`` [T, B, E] to the outputs [T, B, D] and the next state."""


def add_condition(layer: nn.Linear | None, x: Tensor, cond: Tensor | None) -> Tensor:
    """Return ``x + layer(cond)``, or ``x`` where both are None (a model built without side information).

    Raises ValueError if only one of ``layer`` and ``cond`` is given.
    """
    if layer is None and cond is None:
        return x
    if layer is None or cond is None:
        raise ValueError("side information must be given if, and only if, the memory was built with its width, cond")
    summed: Tensor = x + layer(cond)
    return summed


class Torso(nn.Module, abc.ABC):
    """Map from one observation, [N, ...] of an image (uint8 HWC) or a vector (float32), to one vector, [N, E]."""

    size: int  # E
    map_shape: tuple[int, int, int] | None = None  # channels, height, width of the map, for image torsos

    @abc.abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the convolutional map, or None, and the vector [N, E]."""

    def unmapped(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return what ``forward`` does to those who do not read the map, which may be None to save its cost."""
        found: tuple[Tensor | None, Tensor] = self(x)
        return found

    def keep(self, on: bool) -> None:
        """Begin (``on``), or end, a time in which the weights do not change and, without gradient, nobody reads the
        map: vectors may be kept and reused, and the map may be None.
        """
