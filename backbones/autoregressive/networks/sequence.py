"""Causal network made of a memory: LSTM, GRU, dilated convolution or transformer over the events so far."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ....envs.trees import State
from ...base import SequenceModel
from ..conditioning import Attention, Rows
from ..orderings import Ordering, Places
from .base import CausalNetwork


class Sequence(CausalNetwork):
    """Causal network around any `SequenceModel`, built by ``model(input_size, size, cond)``, in any ordering.

    Its input at row t is the embedding of event t - 1 (a learned start vector at row 0), with the places of events
    t - 1 and t, if places matter in the ordering.
    """

    def __init__(
        self,
        ordering: Ordering,
        width: int,
        cond: int = 0,
        memory: int = 0,
        *,
        model: Callable[..., SequenceModel],
        size: int = 64,
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(width))
        self.here, self.before = Places(ordering, width), Places(ordering, width)
        self.attention = Attention(width, memory) if memory else None
        self.model = model(width, size, cond)
        self.size = self.model.size

    def forward(self, e: Tensor, cond: Rows) -> Tensor:
        """Map embeddings [T, B, width] to features [T, B, size]."""
        batch = e.shape[1]
        x = torch.cat([self.start.expand(1, batch, -1), e[:-1]])
        return self._unroll(x, 0, cond, self.initial_state(batch))[0]

    def initial_state(self, batch: int) -> State:
        """Return the model's initial state."""
        return self.model.initial_state(batch)

    def step(self, t: int, previous: Tensor, cond: Rows, state: State) -> tuple[Tensor, State]:
        """Return row t and the next state."""
        x = previous if t else self.start.expand_as(previous)
        rows = None if cond.rows is None else cond.rows[t : t + 1]
        out, state = self._unroll(x.unsqueeze(0), t, cond._replace(rows=rows), state)
        return out[0], state

    def _unroll(self, x: Tensor, begin: int, cond: Rows, state: State) -> tuple[Tensor, State]:
        """Return features of rows from ``begin`` on, for inputs [T, B, width], and the next state.

        The state is reset at row 0 only.
        """
        t = torch.arange(begin, begin + len(x), device=x.device)
        x = self.before(self.here(x, t), (t - 1).clamp(min=0))
        if self.attention is not None:
            assert cond.memory is not None
            x = x + self.attention(x, cond.memory, cond.mask)
        first = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        first[0] = begin == 0
        rows, state = self.model(x, state, first, cond.rows)
        return rows, state
