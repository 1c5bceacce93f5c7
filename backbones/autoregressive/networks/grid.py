"""Networks over images as grids, made causal by masks, in raster order."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from ....envs.trees import State
from ..conditioning import Attention, Rows
from ..orderings import Ordering, Places
from .base import CausalNetwork


class ImageNetwork(CausalNetwork):
    """Network that turns sequences into maps and back; a subclass implements ``draw``, from maps to maps.

    The channels of a pixel, one event each, are ``groups`` of features, those of the first channel first. Where a pixel
    is one event there is one group.
    """

    def __init__(self, ordering: Ordering, cond: int, memory: int) -> None:
        super().__init__()
        if not ordering.image:
            raise ValueError(f"{type(self).__name__} needs an image [H, W, C] in raster order, not {ordering.places}")
        self.columns = ordering.places[1]
        self.groups = ordering.places[2] if len(ordering.places) == 3 else 1
        self.places = Places(ordering, memory) if memory else None
        self.attention = Attention(memory, memory) if memory else None
        self.cond = self.groups * (cond + memory)
        """Number of channels of a pixel's side information."""

    @abc.abstractmethod
    def draw(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """Map [B, groups * width, H, W] and side information [B, cond, H, W] to [B, groups * size, H, W]."""

    def forward(self, e: Tensor, cond: Rows) -> Tensor:
        """Map embeddings [T, B, width] to features [T, B, size]."""
        rows = self._rows(len(e), e.shape[1], cond)
        return self._sequence(self.draw(self._map(e), None if rows is None else self._map(rows)))

    def initial_state(self, batch: int) -> State:
        """Return the empty state; the embeddings of events are appended as they come."""
        return ()

    def step(self, t: int, previous: Tensor, cond: Rows, state: State) -> tuple[Tensor, State]:
        """Return row t and the next state, recomputing the image's rows down to the event's own."""
        told = previous.new_zeros(0, *previous.shape) if t == 0 else torch.cat([state[0], previous.unsqueeze(0)])
        line = self.columns * self.groups
        end = (t // line + 1) * line
        whole = torch.cat([told, told.new_zeros(end - t, *previous.shape)])
        rows = None if cond.rows is None else cond.rows[:end]
        return self.forward(whole, cond._replace(rows=rows))[t], (told,)

    def _rows(self, length: int, batch: int, cond: Rows) -> Tensor | None:
        """Return the side information of each event, including the result of attention to the memory.

        Attention queries are made from an event's place only, since maps also read later pixels' side information.
        """
        if self.attention is None or self.places is None:
            return cond.rows
        assert cond.memory is not None
        t = torch.arange(length, device=cond.memory.device)
        query = self.places(cond.memory.new_zeros(length, batch, cond.memory.shape[-1]), t)
        found = self.attention(query, cond.memory, cond.mask)
        return found if cond.rows is None else torch.cat([cond.rows, found], dim=-1)

    def _map(self, x: Tensor) -> Tensor:
        """Map [H W groups, B, F] to [B, groups F, H, W]."""
        x = torch.unflatten(x, 0, (-1, self.columns, self.groups))
        return x.permute(3, 2, 4, 0, 1).flatten(1, 2)

    def _sequence(self, x: Tensor) -> Tensor:
        """Map [B, groups F, H, W] to [H W groups, B, F]."""
        x = torch.unflatten(x, 1, (self.groups, -1))
        return x.permute(3, 4, 1, 0, 2).flatten(0, 2)
