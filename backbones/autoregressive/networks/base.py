"""Interface of the causal networks of autoregressive models."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from ....envs.trees import State
from ..conditioning import Rows


class CausalNetwork(nn.Module, abc.ABC):
    """Strictly causal network: features of each event from the events before it.

    Built as ``Class(ordering, width, cond, memory, ...)``: embeddings of ``width``, side information of ``cond``
    numbers per event and ``memory`` numbers per entry (0: none). ``forward`` takes the embedded events e [T, B, width]
    and returns [T, B, size], of which row t depends on e[:t] and side information. ``step`` gives the same row by row.
    """

    size: int

    @abc.abstractmethod
    def forward(self, e: Tensor, cond: Rows) -> Tensor:
        """Map embeddings [T, B, width] to features [T, B, size]."""

    @abc.abstractmethod
    def initial_state(self, batch: int) -> State:
        """Return the state before row 0."""

    @abc.abstractmethod
    def step(self, t: int, previous: Tensor, cond: Rows, state: State) -> tuple[Tensor, State]:
        """Return row t [B, size] and the next state.

        ``previous`` [B, width] is the embedding of event t - 1 (at t = 0 it is ignored); ``cond`` holds all rows.
        """
