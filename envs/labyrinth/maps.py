"""Conversion of a level's text to arrays: walls on the edges of cells, items and start points in map units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cell_map import CellMap
from ..errors import UserError
from .level import MARKS, Blocks, Level, MazeGenerator, RoomChain, ThinWalls
from .textures import TEXTURES

RANDOM_HEADING = 1e3
"""Heading of a start that stands for "random"."""


Marks = dict[str, list[tuple[int, int]]]
"""Character -> the cells (i, j) that contain it."""


class Plan(NamedTuple):
    """A map as arrays. Row 0 is the southernmost."""

    walls: NDArray[np.uint8]  # [2, H + 1, W + 1], see world.py
    open: NDArray[np.bool_]  # [H, W]
    marks: Marks
    items: list[tuple[str, float, float]]  # kind, x, y
    starts: list[tuple[float, float, float]]  # x, y, heading in radians or RANDOM_HEADING
    exit: tuple[float, float, float]  # the same; unused without a portal


def plan(level: Level) -> Plan:
    """Return the map of a level. A generated one is empty, to be filled by the kernel."""
    layout, texture = level.layout, TEXTURES[level.wall]
    if isinstance(layout, MazeGenerator | RoomChain):
        walls = np.zeros((2, layout.height + 1, layout.width + 1), np.uint8)
        return Plan(walls, np.ones((layout.height, layout.width), bool), {}, [], [], (0, 0, 0))
    walls, ground, marks = _blocks(layout, texture) if isinstance(layout, Blocks) else _thin(layout, texture)
    if level.decals:
        _hang(walls, TEXTURES[level.decals[0]], len(level.decals), level.decal_share)

    def centres(mark: str) -> list[tuple[float, float]]:
        return [((j + 0.5) * layout.cell, (i + 0.5) * layout.cell) for i, j in marks.get(mark, [])]

    items = [*((kind, x, y) for mark, kind in MARKS.items() for x, y in centres(mark)), *level.items]
    starts = [(x, y, RANDOM_HEADING) for mark in level.start_marks for x, y in centres(mark)]
    starts += map(_pose, level.starts)
    if level.goal and items:
        raise UserError(f"{level.name}: items on the map and a random goal overwrite each other; omit one of them")
    if not starts and not level.start_distance:
        raise UserError(f"{level.name} has no start: mark a cell with one of {level.start_marks!r}, or set starts")
    if level.exit is None and any(kind == "portal" for kind, _, _ in items):
        raise UserError(f"{level.name} has a portal that leads nowhere; set exit=(x, y, heading)")
    ends = [0, -1]
    if (ground[:, ends] & (walls[0, :-1, ends].T == 0)).any() or (ground[ends] & (walls[1, ends, :-1] == 0)).any():
        raise UserError(f"{level.name} has a gap in its outer wall; close it")
    return Plan(walls, ground, marks, items, starts, _pose(level.exit or (0, 0, 0)))


def visit_map(level: Level) -> CellMap:
    """Return the squares of side ``visit_size`` that cover the map, including walls."""
    made, size = plan(level), level.visit_size or level.layout.cell
    rows, columns = (int(-(-n * level.layout.cell // size)) for n in made.open.shape)
    axis, i, j = np.nonzero(made.walls)
    start = np.stack([j, i], -1)
    ends = np.stack([start, start + np.array([[0, 1], [1, 0]])[axis]], 1)  # plane 0 holds the walls along y
    walls = (ends * (level.layout.cell / size)).astype(np.float32)
    return CellMap(rows, columns, upwards=True, walls=walls)


def _pose(pose: tuple[float, float, float | None]) -> tuple[float, float, float]:
    """Return x, y and the heading in radians, in (-pi, pi], or `RANDOM_HEADING`."""
    x, y, degrees = pose
    return x, y, RANDOM_HEADING if degrees is None else float(np.deg2rad(180 - (180 - degrees) % 360))


def _blocks(layout: Blocks, texture: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Marks]:
    """Return walls between open and solid cells; everything outside the map is solid."""
    grid = _grid(layout.text)
    height, width = grid.shape
    char = np.pad(grid, 1, constant_values="#")
    walls = np.zeros((2, height + 1, width + 1), np.uint8)
    for axis, i, j in np.ndindex(2, height + 1, width + 1):
        here, there = char[i + 1, j + 1], char[i + 1, j] if axis == 0 else char[i, j + 1]
        if (here == "#") != (there == "#"):
            front, back = (there, here) if here == "#" else (here, there)
            name = layout.textures.get(front, layout.textures.get(back))
            walls[axis, i, j] = TEXTURES[name] if name else texture
    return walls, grid != "#", _marks(grid)


def _thin(layout: ThinWalls, texture: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Marks]:
    """Return the walls that the text draws."""
    grid = _grid(layout.text)
    height, width = (n // 2 for n in grid.shape)
    walls = np.zeros((2, height + 1, width + 1), np.uint8)
    walls[0, :height] = np.where(grid[1::2, ::2] == " ", 0, texture)
    walls[1, :, :width] = np.where(grid[::2, 1::2] == " ", 0, texture)
    return walls, np.ones((height, width), bool), _marks(grid[1::2, 1::2])


def _grid(text: str) -> NDArray[np.str_]:
    """Return the characters [rows, columns], southernmost row first."""
    return np.array([list(line) for line in reversed(text.strip("\n").split("\n"))])


def _marks(grid: NDArray[np.str_]) -> Marks:
    """Return the cells that contain each character."""
    return {str(m): [(int(i), int(j)) for i, j in np.argwhere(grid == m)] for m in np.unique(grid) if m != "#"}


def _hang(walls: NDArray[np.uint8], first: int, count: int, share: float) -> None:
    """Put decals on a share of the walls, distributed by Knuth's multiplicative hash of the edge's number."""
    edges = np.flatnonzero(walls)
    key = (edges.astype(np.uint64) * np.uint64(2654435761)) % np.uint64(2**32)
    chosen = edges[key < share * 2**32]
    walls.reshape(-1)[chosen] = first + np.arange(len(chosen)) % count
