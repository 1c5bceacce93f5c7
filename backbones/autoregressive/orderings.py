"""Orderings of an array: bijections between an item of any shape and a sequence of T events."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ordering(nn.Module):
    """Bijection from items [B, *shape] to sequences [T, B, *event], row by row or by ``order``.

    The last ``event_dims`` axes of ``shape`` form one event; ``places`` are the other axes, T their product. ``order``
    [T] holds flat indices of places: event t is at place ``order[t]``. ``coordinates`` [T, n] are the places' indices
    along each axis; n = 0 where an event's place does not matter (``absolute=False``).
    """

    order: Tensor
    coordinates: Tensor

    def __init__(
        self, shape: Sequence[int], event_dims: int = 0, order: Tensor | None = None, *, absolute: bool = True
    ) -> None:
        super().__init__()
        split = len(shape) - event_dims
        if not 0 < split <= len(shape):
            raise ValueError(f"an item of shape {tuple(shape)} has no places with event_dims {event_dims}")
        self.shape, self.places, self.event = tuple(shape), tuple(shape[:split]), tuple(shape[split:])
        self.length = math.prod(self.places)
        rows = torch.arange(self.length)
        self.raster = order is None or torch.equal(order, rows)
        self.image = False  # [H, W, C], row by row, as masked convolutions require
        order = rows if order is None else order
        if not torch.equal(order.sort().values, rows):
            raise ValueError(f"an order of {self.length} places must hold each of them once")
        self.register_buffer("order", order, persistent=False)
        at = torch.stack(torch.unravel_index(order, self.places), dim=-1)
        self.register_buffer("coordinates", at if absolute else at[:, :0], persistent=False)

    def check(self, event: tuple[int, ...]) -> None:
        """Raise ValueError for a head whose events are of another shape."""
        if event != self.event:
            raise ValueError(f"the ordering has events of shape {self.event}, the head {event}")

    def to_sequence(self, x: Tensor) -> Tensor:
        """Map [B, *places, ...] to [T, B, ...]; raise ValueError for items of another shape."""
        if x.shape[1 : 1 + len(self.places)] != self.places:
            raise ValueError(f"items are [B, {', '.join(map(str, self.shape))}], not {list(x.shape)}")
        flat = x.flatten(1, len(self.places)).transpose(0, 1)
        return flat if self.raster else flat[self.order]

    def from_sequence(self, s: Tensor) -> Tensor:
        """Map [T, B, ...] back to [B, *places, ...]."""
        flat = s if self.raster else s[self.order.argsort()]
        return torch.unflatten(flat.transpose(0, 1), 1, self.places)


class Places(nn.Module):
    """Learned vectors for the places of events, one table per axis; none where places do not matter."""

    def __init__(self, ordering: Ordering, width: int) -> None:
        super().__init__()
        self.ordering = ordering
        sizes = ordering.places[: ordering.coordinates.shape[-1]]
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in sizes)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return ``x`` [N, B, width] plus the vectors of the places of events ``t`` [N]."""
        at = self.ordering.coordinates[t]
        for axis, table in enumerate(self.tables):
            x = x + table(at[:, axis]).unsqueeze(1)
        return x


def time(length: int, event: Sequence[int] = ()) -> Ordering:
    """Return the ordering of text, audio or strokes [B, T, *event].

    An event's position in time does not matter: all windows of a stream have the same statistics.
    """
    return Ordering((length, *event), len(event), absolute=False)


def raster(height: int, width: int, channels: int, *, whole_pixels: bool = False) -> Ordering:
    """Return the ordering of images [B, H, W, C], row by row, channels innermost.

    With ``whole_pixels`` the channels of a pixel are one event.
    """
    ordering = Ordering((height, width, channels), int(whole_pixels))
    ordering.image = True
    return ordering


def frames(count: int, inner: Ordering) -> Ordering:
    """Return the ordering of ``count`` items in sequence, each in the order ``inner``: videos [B, F, H, W, C]."""
    start = torch.arange(count).unsqueeze(-1) * inner.length
    order = (start + inner.order).flatten()
    return Ordering((count, *inner.shape), len(inner.event), order, absolute=bool(inner.coordinates.shape[1]))


def permuted(inner: Ordering, permutation: Tensor) -> Ordering:
    """Return ``inner`` with its events permuted: event t is event ``permutation[t]`` of ``inner``."""
    return Ordering(inner.shape, len(inner.event), inner.order[permutation])  # places matter after a permutation
