"""LSTM and GRU memory, reset inside the unroll.

The input projection of all T rows is one matrix product; only the recurrent one runs step by step. A fused kernel over
the whole sequence could reset a row in the middle only after the host had searched for resets.
"""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor, nn

from ..envs.trees import State, reset_state
from .base import SequenceModel, add_condition


class Feedforward(SequenceModel):
    """No memory: returns its input unchanged."""

    def __init__(self, input_size: int, size: int, cond: int = 0) -> None:
        super().__init__()
        self.size = input_size

    def initial_state(self, batch: int) -> State:
        """Return the empty state."""
        return ()

    def forward(self, x: Tensor, state: State, first: Tensor, cond: Tensor | None = None) -> tuple[Tensor, State]:
        """Return ``x`` [T, B, E] unchanged."""
        return add_condition(None, x, cond), state


class Recurrent(SequenceModel):
    """Base of LSTM and GRU: the two projections, the state's shape and the loop over time."""

    gates: int
    states: int  # how many [B, D] tensors the state holds; the first is the output

    def __init__(self, input_size: int, size: int, cond: int = 0) -> None:
        super().__init__()
        self.size = size
        self.input = nn.Linear(input_size, self.gates * size)
        self.recurrent = nn.Linear(size, self.gates * size)
        self.cond = nn.Linear(cond, self.gates * size, bias=False) if cond else None
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(size), 1 / math.sqrt(size))

    def initial_state(self, batch: int) -> State:
        """Return zeros: a tuple of [B, D]."""
        return tuple(self.recurrent.weight.new_zeros(batch, self.size) for _ in range(self.states))

    def forward(self, x: Tensor, state: State, first: Tensor, cond: Tensor | None = None) -> tuple[Tensor, State]:
        """Map [T, B, E] to [T, B, D] and the next state."""
        projected = add_condition(self.cond, self.input(x), cond)
        initial = tuple(torch.zeros_like(s) for s in state)
        outputs = []
        for t in range(x.shape[0]):
            state = self.cell(projected[t], reset_state(state, first[t], initial))
            outputs.append(state[0])
        return torch.stack(outputs), state

    @abc.abstractmethod
    def cell(self, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Advance the state by one step, given the input projection [B, gates * D]."""


class LSTM(Recurrent):
    """LSTM (Hochreiter and Schmidhuber 1997) with forget gates (Gers et al. 2000), in torch's order i, f, g, o."""

    gates, states = 4, 2

    def cell(self, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Compute ``c' = f c + i g`` and ``h' = o tanh(c')``."""
        h, c = state
        i, f, g, o = (projected + self.recurrent(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRU(Recurrent):
    """GRU (Cho et al. 2014) in cuDNN's form; gates in torch's order r, z, n."""

    gates, states = 3, 1

    def cell(self, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Compute ``n = tanh(W x + r (U h))`` and ``h' = (1 - z) n + z h``."""
        (h,) = state
        x_r, x_z, x_n = projected.chunk(3, dim=-1)
        h_r, h_z, h_n = self.recurrent(h).chunk(3, dim=-1)
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        return (n + z * (h - n),)
