"""A map of one world seen from above, for human viewers: walls, items, the agent and its trail. North is up."""

from __future__ import annotations

from collections import deque
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .kernels.items import BLUE, EFFECT, RADIUS, RED, REWARD, VANISH, kinds_table
from .textures import TEXTURES, texture_table
from .world import Tables, World

Floats = NDArray[np.floating]
Colour = tuple[float, float, float]
ROCK, AGENT, EDGE = (38.0, 38.0, 44.0), (255.0, 140.0, 20.0), (20.0, 20.0, 20.0)
FINE = 2  # supersampling factor


def topdown(
    world: World, tables: Tables, b: int, height: int, width: int, trail: Floats | None = None, heat: bool = False
) -> NDArray[np.uint8]:
    """Draw environment ``b`` as [height, width, 3]. ``trail`` [T, 2]: its positions so far, in map units, drawn as a
    line or, with ``heat``, as the time spent in each square that ``info["cell"]`` counts.

    Ground that neither the agent nor an item can reach is dark. Walls and floor have the mean colour of their
    texture; items with positive reward have a light rim, others a dark one, and goals are drawn large.
    """
    k = int(world.task[b])
    rows, columns, cell = int(tables.height[k]), int(tables.width[k]), float(tables.cell_size[k])
    walls = world.walls[b, :, : rows + 1, : columns + 1].cpu().numpy()
    agent = world.position[b].cpu().numpy()
    present = world.item_kind[b].cpu().numpy()
    places, looks = world.item_position[b].cpu().numpy()[present > 0], kinds_table()[present[present > 0]]

    x, y, unit = _grid(rows * cell, columns * cell, height * FINE, width * FINE)
    ground = _reached(walls, [(int(py // cell), int(px // cell)) for px, py in (agent, *places)])
    j, i = np.floor(x / cell).astype(int), np.floor(y / cell).astype(int)
    inside = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
    open_here = inside & ground[np.clip(i, 0, rows - 1), np.clip(j, 0, columns - 1)]
    image = np.where(open_here[..., None], _means()[TEXTURES["floor_stone"]] * 0.4 + 150, np.array(ROCK))
    if heat and trail is not None and len(trail):
        _draw_heat(image, x, y, np.asarray(trail), float(tables.visit_size[k]), open_here)
    elif trail is not None and len(trail) > 1:
        _draw_trail(image, x, y, np.asarray(trail), 1.4 * FINE * unit)
    _draw_walls(image, walls, x / cell, y / cell, max(0.05, 1.2 * FINE * unit / cell))
    for place, look in zip(places, looks, strict=True):
        rim = (255.0, 255.0, 255.0) if look[REWARD] > 0 else EDGE
        radius = max(float(look[RADIUS]), (3 if look[EFFECT] == VANISH else 6) * FINE * unit)
        _draw_disc(image, x, y, place, radius + 1.2 * FINE * unit, rim)
        _draw_disc(image, x, y, place, radius, look[RED : BLUE + 1])
    _draw_agent(image, x, y, agent, float(world.heading[b]), max(22.0, 5 * FINE * unit), unit)
    small: Floats = image.reshape(height, FINE, width, FINE, 3).mean((1, 3))
    return np.round(small.clip(0, 255)).astype(np.uint8)


def _grid(tall: float, wide: float, height: int, width: int) -> tuple[Floats, Floats, float]:
    """Return map coordinates (x, y) of pixel centres, with the map centred in a margin, and map units per pixel."""
    unit = max(tall / height, wide / width) * 1.06
    x = (np.arange(width) + 0.5 - width / 2) * unit + wide / 2
    y = (height / 2 - np.arange(height) - 0.5) * unit + tall / 2
    across, up = np.meshgrid(x, y)
    return across.astype(np.float32), up.astype(np.float32), unit


@cache
def _means() -> Floats:
    """Return the mean colour of every texture, [count, 3]."""
    count = len(TEXTURES)
    means: Floats = texture_table()[:count].reshape(count, -1, 3).mean(1)
    return means


def _reached(walls: NDArray[np.uint8], starts: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return the cells reachable from ``starts``."""
    rows, columns = walls.shape[1] - 1, walls.shape[2] - 1
    seen = np.zeros((rows, columns), bool)
    queue = deque((i, j) for i, j in starts if 0 <= i < rows and 0 <= j < columns)
    while queue:
        i, j = queue.popleft()
        if seen[i, j]:
            continue
        seen[i, j] = True
        for wall, to_i, to_j in (
            (walls[0, i, j], i, j - 1),
            (walls[0, i, j + 1], i, j + 1),
            (walls[1, i, j], i - 1, j),
            (walls[1, i + 1, j], i + 1, j),
        ):
            if not wall and 0 <= to_i < rows and 0 <= to_j < columns:
                queue.append((to_i, to_j))
    return seen


def _draw_walls(image: Floats, walls: NDArray[np.uint8], x: Floats, y: Floats, half: float) -> None:
    """Draw walls as bars ``2 * half`` cells thick; (x, y) are in cells."""
    means = _means()
    for axis, across, along in ((0, x, y), (1, y, x)):
        line = np.round(across).astype(int)
        near = np.abs(across - line) < half
        for end in (-half, half):  # bars extend beyond their ends, to close corners
            at = np.floor(along + end).astype(int)
            i, j = (at, line) if axis == 0 else (line, at)
            valid = near & (i >= 0) & (j >= 0) & (i < walls.shape[1]) & (j < walls.shape[2])
            texture = np.where(valid, walls[axis, i.clip(0, walls.shape[1] - 1), j.clip(0, walls.shape[2] - 1)], 0)
            image[texture > 0] = means[texture[texture > 0]]


def _draw_disc(image: Floats, x: Floats, y: Floats, place: Floats, radius: float, colour: Floats | Colour) -> None:
    window = _window(x, y, place, radius)
    image[window][(x[window] - place[0]) ** 2 + (y[window] - place[1]) ** 2 < radius * radius] = colour


def _window(x: Floats, y: Floats, place: Floats, radius: float) -> tuple[slice, slice]:
    """Return rows and columns of the pixels that may be within ``radius`` of ``place``."""
    unit = float(x[0, 1] - x[0, 0])
    column, row = int((place[0] - x[0, 0]) / unit), int((y[0, 0] - place[1]) / unit)
    reach = int(np.ceil(radius / unit)) + 1
    rows, columns = (slice(max(0, at - reach), max(0, at + reach + 1)) for at in (row, column))
    return rows, columns


def _draw_agent(image: Floats, x: Floats, y: Floats, place: Floats, heading: float, size: float, unit: float) -> None:
    """Draw an arrowhead, and its field of view of 90 degrees as a pale fan."""
    ahead = (x - place[0]) * np.cos(heading) + (y - place[1]) * np.sin(heading)
    aside = np.abs((x - place[0]) * np.sin(heading) - (y - place[1]) * np.cos(heading))
    fan = (ahead > aside) & (ahead * ahead + aside * aside < (4.5 * size) ** 2)
    image[fan] = 0.65 * image[fan] + 0.35 * np.array((255, 250, 200))
    for grow, colour in ((1.3 * FINE * unit, EDGE), (0.0, AGENT)):
        tip = (ahead < size + grow - 2.0 * aside + grow) & (ahead > -0.8 * size - grow)
        notch = ahead < -0.8 * size + 0.55 * (0.9 * size - aside) - 2 * grow
        image[tip & ~notch & (aside < 0.9 * size + grow)] = colour


def _draw_heat(image: Floats, x: Floats, y: Floats, trail: Floats, size: float, where: NDArray[np.bool_]) -> None:
    """Tint the squares of side ``size`` from blue (one visit) to red (the most), on a logarithmic scale."""
    squares, counts = np.unique(np.floor(trail / size).astype(int), axis=0, return_counts=True)
    most = np.log(max(2, counts.max()))
    for (column, row), count in zip(squares, counts, strict=True):
        share = float(np.log(count) / most)
        here = where & (np.floor(x / size) == column) & (np.floor(y / size) == row)
        strength = 0.45 + 0.4 * share
        image[here] = (1 - strength) * image[here] + strength * np.array((40 + 200 * share, 60, 240 - 200 * share))


def _draw_trail(image: Floats, x: Floats, y: Floats, trail: Floats, width: float) -> None:
    """Draw a line from blue (oldest) to red (newest); jumps at map restarts are omitted."""
    for n, (start, end) in enumerate(pairwise(trail)):
        length = float(np.hypot(*(end - start)))
        if length > 120:
            continue
        age = n / max(1, len(trail) - 2)
        colour = (40 + 200 * age, 60, 240 - 200 * age)
        for part in np.linspace(0, 1, int(length / width) + 1):
            _draw_disc(image, x, y, start + part * (end - start), width, colour)
