"""What backbones promise to the heads, losses and rewards built on them."""

from __future__ import annotations

import abc
from typing import NamedTuple

from torch import Tensor, nn

from ..envs.trees import State


class Features(NamedTuple):
    """One unroll's activations, shared by all losses and rewards. N = (T + 1) B, row-major."""

    map: Tensor | None  # [N, channels, height, width], the last convolutional map; None without an image
    vector: Tensor  # [T + 1, B, E], the torso's output
    memory: Tensor  # [T + 1, B, D], what the heads read
    logits: Tensor  # [T + 1, B, A], the present policy's
    value: dict[str, Tensor]  # [T + 1, B] of each reward stream, by name


class Sizes(NamedTuple):
    """The widths of ``Features``, known before anything runs."""

    map: tuple[int, int, int] | None  # channels, height, width
    vector: int  # E
    memory: int  # D


class SequenceModel(nn.Module, abc.ABC):
    """Memory over time: one contract for policies, densities and contexts.

    ``forward`` takes ``x`` [T, B, E], the state before row 0 and ``first`` [T, B]; it resets rows to the initial
    state where ``first`` is True, *before* they take in that row, and returns [T, B, D] and the state after row
    T - 1. T = 1 when acting; any split of an unroll gives the same output. ``cond`` [T, B, C] is side information, for
    models built with its width: ``Class(input_size, size, cond)``.

    x is finite everywhere: what lies before a reset reaches no value after it, but NaN there reaches gradients, and
    through attention, whose weight of 0 does not keep it out, values too.
    """

    size: int  # D

    @abc.abstractmethod
    def initial_state(self, batch: int) -> State:
        """The state before anything was seen: a tree of batch-first tensors on the module's device."""

    @abc.abstractmethod
    def forward(self, x: Tensor, state: State, first: Tensor, cond: Tensor | None = None) -> tuple[Tensor, State]:
        """[T, B, E] -> [T, B, D] and the next state."""


def add_condition(layer: nn.Linear | None, x: Tensor, cond: Tensor | None) -> Tensor:
    """``x`` plus what side information ``cond`` says through ``layer``; None: a model built without any. ValueError
    where only one of them is there.
    """
    if layer is None and cond is None:
        return x
    if layer is None or cond is None:
        raise ValueError("side information is given if, and only if, a memory was built with its width, cond")
    summed: Tensor = x + layer(cond)
    return summed


class Torso(nn.Module, abc.ABC):
    """One observation to one vector: [N, ...] of an image (uint8 HWC) or a vector (float32) -> [N, E]."""

    size: int  # E
    map_shape: tuple[int, int, int] | None = None  # channels, height, width of the map, for image torsos

    @abc.abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """(map or None, vector [N, E])."""
