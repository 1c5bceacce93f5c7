"""Laws of sources, said again: slow, symbol by symbol, written apart from the code they check."""

import itertools
import math
from functools import cache

import torch

from morello.backbones.sources import ClassMixture, LagCopy, MarkovMesh, MarkovText, MovingSprite, ShiftCopy, TopicText

from .enumeration import every_item


def told(said, heard, right, symbols):
    return right if said == heard else (1 - right) / (symbols - 1)


def chain(source, x):
    """Start by a law found by walking for long, then the table."""
    V, k = source.symbols, source.order
    law = [1 / V**k] * V**k
    for _ in range(500):
        after = [0.0] * V**k
        for context, symbol in itertools.product(range(V**k), range(V)):
            after[(context * V + symbol) % V**k] += law[context] * source.table[context, symbol].item()
        law = after
    result = []
    for item in x.tolist():
        context = 0
        for symbol in item[:k]:
            context = context * V + symbol
        p = law[context]
        for t in range(k, len(item)):
            p *= source.table[context, item[t]].item()
            context = (context * V + item[t]) % V**k
        result.append(p)
    return torch.tensor(result, dtype=torch.float64)


def topics(source, x):
    return sum(chain(component, x) for component in source.components) / len(source.components)


def lag(source, x):
    V, renewal = source.symbols, 0.3
    result = []
    for item in x.tolist():
        p = 1.0
        for t, symbol in enumerate(item):
            copied = t >= source.lag and symbol == item[t - source.lag]
            p *= 1 / V if t < source.lag else renewal / V + (1 - renewal) * copied
        result.append(p)
    return torch.tensor(result, dtype=torch.float64)


def mesh(source, x):
    table, result = source.table.tolist(), []
    for item in x.tolist():
        p = 1.0
        for i, row in enumerate(item):
            for j, pixel in enumerate(row):
                for c, symbol in enumerate(pixel):
                    left = row[j - 1][c] if j else 0
                    up = item[i - 1][j][c] if i else 0
                    lower = pixel[c - 1] if c else 0
                    p *= table[c][left][up][lower][symbol]
        result.append(p)
    return torch.tensor(result, dtype=torch.float64)


def shift(offset, right):
    def law(source, x):
        H, W, _ = source.shape
        result = []
        for item in x.tolist():
            p = 1.0
            for i, j in itertools.product(range(H), range(W)):
                if i and 0 <= j + offset < W:
                    p *= told(item[i - 1][j + offset][0], item[i][j][0], right, source.symbols)
                else:
                    p /= source.symbols
            result.append(p)
        return torch.tensor(result, dtype=torch.float64)

    return law


def classes(source, x):
    flat, result = source.templates.flatten(1).tolist(), []
    for item in x.flatten(1).tolist():
        terms = [math.prod(told(m, s, 0.9, 2) for m, s in zip(template, item, strict=True)) for template in flat]
        result.append(sum(terms) / len(terms))
    return torch.tensor(result, dtype=torch.float64)


def step(place, direction, size):
    """One axis: (place, +-1) one frame on."""
    return (place + direction, direction) if 0 <= place + direction < size else (place, -direction)


def sprite(source, x):
    """Every path there is, one by one."""
    F, side, _, _ = source.shape
    count, reach = source.grid[:2]
    n = side - reach + 1
    sprites = source.pictures.reshape(count, reach, reach, side, side)[:, 0, 0, :n, :n]
    diagonals = list(itertools.product((-1, 1), (-1, 1)))
    starts = list(itertools.product(range(count), range(reach), range(reach), diagonals))
    total = torch.zeros(len(x), dtype=torch.float64)
    for s, row, column, (down, right) in starts:
        paths = [(1 / len(starts), [(row, column)], down, right)]
        for _ in range(F - 1):
            longer = []
            for p, places, down, right in paths:
                for a, b in diagonals:
                    q = p * (source.turning / 4 + (1 - source.turning) * ((a, b) == (down, right)))
                    (r, a), (c, b) = step(places[-1][0], a, reach), step(places[-1][1], b, reach)
                    longer += [(q, [*places, (r, c)], a, b)] if q else []
            paths = longer
        for p, places, _, _ in paths:
            clean = torch.zeros(F, side, side, 1)
            for f, (r, c) in enumerate(places):
                clean[f, r : r + n, c : c + n, 0] = sprites[s]
            wrong = (x != clean).flatten(1).sum(-1).double()
            total += p * source.error**wrong * (1 - source.error) ** (clean.numel() - wrong)
    return total


SMALL = {
    "text": (lambda: MarkovText(3, 2, 0.5, 7, seed=5), chain),
    "text of order 1": (lambda: MarkovText(5, 1, 0.5, 3, seed=5), chain),
    "topics": (lambda: TopicText(3, 2, 1, 0.5, 7, seed=5), topics),
    "lag": (lambda: LagCopy(3, 2, 0.3, 7), lag),
    "mesh": (lambda: MarkovMesh(3, 2, 1, 3, 0.5, seed=5), mesh),
    "mesh with channels": (lambda: MarkovMesh(2, 3, 2, 2, 0.5, seed=5), mesh),
    "shift": (lambda: ShiftCopy(5, 2, 1, 2, 0.1), shift(1, 0.9)),
    "shift the other way": (lambda: ShiftCopy(2, 3, -1, 3, 0.2), shift(-1, 0.8)),
    "classes": (lambda: ClassMixture(3, 2, 5, 0.1, seed=5), classes),
    "sprite": (lambda: MovingSprite(3, 2, 1, 1, 0.05, 0.0), sprite),
    "sprite that turns": (lambda: MovingSprite(3, 2, 1, 1, 0.05, 0.3), sprite),
}


@cache
def enumerated(name):
    build, law = SMALL[name]
    source = build()
    items = every_item(source)
    return source, items, law(source, items)
