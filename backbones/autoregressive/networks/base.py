"""What an autoregressive model is computed by."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from ....envs.trees import State
from ..conditioning import Rows


class CausalNetwork(nn.Module, abc.ABC):
    """Features of each event from the events before it: strictly causal.

    Built as ``Class(ordering, width, cond, memory, ...)``: embeddings of ``width``, side information of ``cond``
    numbers an event and ``memory`` numbers an entry (0: none). ``forward`` takes e [T, B, width], the embedded events,
    and returns [T, B, size], of which row t depends on e[:t] and side information. ``step`` gives the same row by row.
    """

    size: int

    @abc.abstractmethod
    def forward(self, e: Tensor, cond: Rows) -> Tensor:
        """[T, B, width] -> [T, B, size]."""

    @abc.abstractmethod
    def initial_state(self, batch: int) -> State:
        """Before row 0."""

    @abc.abstractmethod
    def step(self, t: int, previous: Tensor, cond: Rows, state: State) -> tuple[Tensor, State]:
        """Row t [B, size] and the next state, from the embedding of event t - 1 [B, width] (at t = 0: anything);
        ``cond`` as for all rows.
        """
