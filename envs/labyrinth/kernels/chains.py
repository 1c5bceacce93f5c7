"""Chains of rooms generated on the device: each room is joined to the one before by an opening in their common wall.

The algorithm is MiniGrid's for MultiRoom (Chevalier-Boisvert et al., 2018), without recursion: a random opening in a
random side of the last room, and behind it a room of random size and offset. A room that touches another one or the
edge of the map is drawn again; after `PATIENCE` failures in a row the chain begins anew. One thread makes one chain.
``grid`` [B, 2 * cells] is scratch: the first half holds each cell's room (0 rock, 1 to N the rooms in their order,
N + 1 openings), the second the texture of each room's walls.
"""

from __future__ import annotations

import warp as wp

from .arrays import Ints2, Levels, Worlds
from .random import next_below

ATTEMPTS = wp.constant(4000)
"""Number of attempts to place rooms. None of 4,096 chains of each registered level needed more than 150."""
PATIENCE = wp.constant(12)
"""Failures in a row after which the chain begins anew."""


@wp.func
def fits(grid: Ints2, e: int, south: int, west: int, rows: int, columns: int, height: int, width: int) -> bool:
    """Return whether a room and the walls around it lie inside the map, in rock."""
    free = south > 0 and west > 0 and south + rows < height and west + columns < width
    if free:
        for i in range(south - 1, south + rows + 1):
            for j in range(west - 1, west + columns + 1):
                if grid[e, i * width + j] != 0:
                    free = bool(False)
    return free


@wp.func
def cell_in(w: Worlds, e: int, south: int, west: int, rows: int, columns: int, width: int) -> int:
    """Return a random cell of a room."""
    i = south + next_below(w, e, rows)
    return i * width + west + next_below(w, e, columns)


@wp.func
def raise_walls_of_rooms(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int) -> None:
    """Write walls between open cells and rock: those of openings have the level's texture, those of rooms their own."""
    height = levels.height[k]
    width = levels.width[k]
    for axis in range(2):
        for i in range(height):
            for j in range(width):
                behind = i * width + j - wp.where(axis == 0, 1, width)
                texture = int(0)
                if wp.where(axis == 0, j, i) > 0:
                    here = grid[e, i * width + j]
                    there = grid[e, behind]
                    if (here > 0) != (there > 0):
                        room = wp.max(here, there)
                        texture = int(levels.wall_texture[k])
                        if room <= levels.rooms[k]:
                            texture = grid[e, height * width + room - 1]
                w.walls[e, axis, i, j] = wp.uint8(texture)


@wp.func
def draw_chain(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int) -> None:
    """Generate a new chain for environment ``e``: its walls, a start cell in the first room, an object cell in the
    last.
    """
    height = levels.height[k]
    width = levels.width[k]
    least = levels.room_min[k]
    sizes = levels.room_max[k] - least + 1
    placed = int(0)
    failed = int(0)
    south = int(0)
    west = int(0)
    rows = int(0)
    columns = int(0)
    texture = next_below(w, e, levels.num_decals[k])
    for _ in range(ATTEMPTS):
        if placed < levels.rooms[k]:
            tall = least + next_below(w, e, sizes)
            wide = least + next_below(w, e, sizes)
            new_south = int(0)
            new_west = int(0)
            opening = int(-1)
            anew = bool(placed == 0 or failed == PATIENCE)
            if anew:
                for c in range(height * width):
                    grid[e, c] = 0
                placed = 0
                failed = 0
                new_south = 1 + next_below(w, e, height - tall - 1)
                new_west = 1 + next_below(w, e, width - wide - 1)
            else:
                side = next_below(w, e, 4)  # west, east, south, north
                if side < 2:
                    i = south + next_below(w, e, rows)
                    j = wp.where(side == 0, west - 1, west + columns)
                    new_south = i - next_below(w, e, tall)
                    new_west = wp.where(side == 0, j - wide, j + 1)
                    opening = i * width + j
                else:
                    j = west + next_below(w, e, columns)
                    i = wp.where(side == 2, south - 1, south + rows)
                    new_south = wp.where(side == 2, i - tall, i + 1)
                    new_west = j - next_below(w, e, wide)
                    opening = i * width + j
            if fits(grid, e, new_south, new_west, tall, wide, height, width):
                south = new_south
                west = new_west
                rows = tall
                columns = wide
                for i in range(south, south + rows):
                    for j in range(west, west + columns):
                        grid[e, i * width + j] = placed + 1
                if opening >= 0:
                    grid[e, opening] = levels.rooms[k] + 1
                # never that of the room before
                texture = (texture + 1 + next_below(w, e, levels.num_decals[k] - 1)) % levels.num_decals[k]
                grid[e, height * width + placed] = levels.first_decal[k] + texture
                if placed == 0:
                    w.spawn_cell[e, 0] = cell_in(w, e, south, west, rows, columns, width)
                placed += 1
                failed = 0
            else:
                failed += 1
    w.object_cell[e, 0] = cell_in(w, e, south, west, rows, columns, width)
    raise_walls_of_rooms(w, levels, grid, e, k)
