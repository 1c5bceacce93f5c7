"""Walking distances, and the shortest tour through several places."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

FAR = 1e6
"""Distance of unreachable places, in map units."""


def distance_fields(cost: Tensor, target: Tensor, spacing: float) -> Tensor:
    """Return the lengths of the shortest lattice paths, with eight directions, from each place to ``target`` [N, 2];
    ``cost`` [N, h, w] is charged per unit of length on entering a place. FAR where there is no path. Relaxed until
    nothing changes.
    """
    N, h, w = cost.shape
    column, row = (target / spacing).round().long().unbind(-1)
    field = torch.full((N, h + 2, w + 2), FAR)
    field[torch.arange(N), row + 1, column + 1] = 0
    price = torch.where(cost.isinf(), FAR, cost * spacing)
    while True:
        best = field[:, 1:-1, 1:-1].clone()
        for dy, dx in itertools.product((-1, 0, 1), (-1, 0, 1)):
            step = field[:, 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w] + price * (dy * dy + dx * dx) ** 0.5
            best = torch.minimum(best, step)
        best.clamp_(max=FAR)
        if torch.equal(best, field[:, 1:-1, 1:-1]):
            return best
        field[:, 1:-1, 1:-1] = best


def sample(fields: Tensor, which: Tensor, position: Tensor, spacing: float) -> Tensor:
    """Return the distance from ``position`` [..., 2] in field ``which`` [...]: the least over the four surrounding
    places of the way there plus the field's value.
    """
    low = (position / spacing).floor()
    way = torch.full(position.shape[:-1], torch.inf)
    for dy, dx in itertools.product((0, 1), (0, 1)):
        place = low + torch.tensor([dx, dy])
        column, row = place.long().unbind(-1)
        row, column = row.clamp(0, fields.shape[1] - 1), column.clamp(0, fields.shape[2] - 1)
        way = torch.minimum(way, fields[which, row, column] + (place * spacing - position).norm(dim=-1))
    return way


def shortest_tour(first: Tensor, between: Tensor) -> Tensor:
    """Return the shortest order to visit n places: ``first`` [n] is the way to each from the start, ``between`` [n, n]
    the ways from one to another.
    """
    n = len(first)
    subsets = torch.arange(1 << n)
    length = torch.full((1 << n, n), torch.inf)
    length[1 << torch.arange(n), torch.arange(n)] = first
    came_from = torch.zeros(1 << n, n, dtype=torch.int64)
    size = sum((subsets >> i) & 1 for i in range(n))
    for count in range(2, n + 1):
        for last in range(n):
            here = subsets[(size == count) & ((subsets >> last) & 1 == 1)]
            options = length[here ^ (1 << last)] + between[:, last]
            length[here, last], came_from[here, last] = options.min(1)
    visited, last = (1 << n) - 1, int(length[-1].argmin())
    order = []
    for _ in range(n):
        order.append(last)
        visited, last = visited ^ (1 << last), int(came_from[visited, last])
    return torch.tensor(order[::-1])
