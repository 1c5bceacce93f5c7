"""Mazes generated on the device: rooms, corridors between them, decals on the walls.

The algorithm is "rooms and mazes": rooms on odd coordinates; the remaining space is filled by recursive backtracking;
every two adjacent regions are joined at least once; dead ends are removed; detours that leave a corridor and return to
it ("horseshoes") are cut short. One thread makes one maze. ``grid`` [B, 2 * cells] is scratch: the first half holds
each cell's region (0 rock, then the rooms, then the corridors), the second the backtracker's stack.
"""

from __future__ import annotations

import warp as wp

from .arrays import Ints2, Levels, Worlds
from .random import next_below, next_unit

ATTEMPTS = wp.constant(1000)
"""Number of attempts to place rooms."""


@wp.func
def odd_between(w: Worlds, e: int, low: int, high: int) -> int:
    """Return a random odd number from ``low`` to ``high``, both odd."""
    return low + 2 * next_below(w, e, (high - low) / 2 + 1)


@wp.func
def place_rooms(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int) -> int:
    """Place rooms that do not overlap, one side in [min, mid], the other up to max, and return their number."""
    height = levels.height[k]
    width = levels.width[k]
    low = levels.room_min[k]
    high = levels.room_max[k]
    middle = low + (high - low) / 4 * 2
    placed = int(0)
    for _ in range(ATTEMPTS):
        if placed < levels.rooms[k]:
            rows = odd_between(w, e, low, middle)
            columns = odd_between(w, e, low, middle)
            if next_below(w, e, 2) == 0:
                rows = odd_between(w, e, rows, high)
            else:
                columns = odd_between(w, e, columns, high)
            south = 1 + 2 * next_below(w, e, (height - rows) / 2)
            west = 1 + 2 * next_below(w, e, (width - columns) / 2)
            free = bool(True)
            for i in range(south, south + rows):
                for j in range(west, west + columns):
                    if grid[e, i * width + j] > 0:
                        free = False
            if free:
                placed += 1
                for i in range(south, south + rows):
                    for j in range(west, west + columns):
                        grid[e, i * width + j] = placed
    return placed


@wp.func
def neighbour(c: int, side: int, stride: int, height: int, width: int) -> int:
    """Return the cell ``stride`` steps to the west, east, south or north of ``c``, -1 outside the map."""
    i = c / width
    j = c - i * width
    if side == 0:
        j -= stride
    if side == 1:
        j += stride
    if side == 2:
        i -= stride
    if side == 3:
        i += stride
    inside = i >= 0 and j >= 0 and i < height and j < width
    return wp.where(inside, i * width + j, -1)


@wp.func
def carve_corridors(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int, rooms: int) -> int:
    """Carve a perfect maze on all odd cells that are still rock, one region per connected piece, and return the number
    of regions.
    """
    height = levels.height[k]
    width = levels.width[k]
    stack = height * width
    region = int(rooms)
    for root in range(stack):
        i = root / width
        j = root - i * width
        if i % 2 == 1 and j % 2 == 1 and grid[e, root] == 0:
            region += 1
            grid[e, root] = region
            grid[e, stack] = root
            depth = int(1)
            while depth > 0:
                c = grid[e, stack + depth - 1]
                ways = int(0)
                for side in range(4):
                    n = neighbour(c, side, 2, height, width)
                    if n >= 0:
                        if grid[e, n] == 0:
                            ways += 1
                if ways == 0:
                    depth -= 1
                else:
                    pick = next_below(w, e, ways)
                    for side in range(4):
                        n = neighbour(c, side, 2, height, width)
                        if n >= 0:
                            if grid[e, n] == 0:
                                if pick == 0:
                                    grid[e, (c + n) / 2] = region
                                    grid[e, n] = region
                                    grid[e, stack + depth] = n
                                    depth += 1
                                pick -= 1
    return region


@wp.func
def sides(grid: Ints2, e: int, c: int, height: int, width: int) -> wp.vec2i:
    """Return the regions that rock cell ``c`` separates, the smaller first; equal if it joins nothing."""
    i = c / width
    j = c - i * width
    a = int(0)
    b = int(0)
    if i % 2 == 1 and j % 2 == 0 and j > 0 and j < width - 1:
        a = grid[e, c - 1]
        b = grid[e, c + 1]
    if i % 2 == 0 and j % 2 == 1 and i > 0 and i < height - 1:
        a = grid[e, c - width]
        b = grid[e, c + width]
    return wp.vec2i(wp.min(a, b), wp.max(a, b))


@wp.func
def join_regions(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int, regions: int) -> None:
    """Open one random connector between every two adjacent regions, and others with a small probability."""
    height = levels.height[k]
    width = levels.width[k]
    corridor = regions + 1
    for a in range(1, regions):
        for b in range(a + 1, regions + 1):
            found = int(0)
            chosen = int(-1)
            for c in range(height * width):
                if grid[e, c] == 0:
                    s = sides(grid, e, c, height, width)
                    if s[0] == a and s[1] == b:
                        found += 1
                        if next_below(w, e, found) == 0:
                            chosen = c
            if chosen >= 0:
                grid[e, chosen] = corridor
    extra = levels.extra_connections[k]
    if extra > 0.0:
        for c in range(height * width):
            if grid[e, c] == 0:
                s = sides(grid, e, c, height, width)
                if s[0] != s[1]:
                    if next_unit(w, e) < extra:
                        grid[e, c] = corridor


@wp.func
def exits(grid: Ints2, e: int, c: int, height: int, width: int) -> int:
    """Return the number of open neighbours of cell ``c``."""
    count = int(0)
    for side in range(4):
        n = neighbour(c, side, 1, height, width)
        if n >= 0:
            if grid[e, n] > 0:
                count += 1
    return count


@wp.func
def fill_dead_ends(grid: Ints2, e: int, rooms: int, height: int, width: int) -> None:
    """Turn corridor cells with a single exit back to rock until none is left."""
    changed = bool(True)
    while changed:
        changed = bool(False)
        for c in range(height * width):
            if grid[e, c] > rooms:
                if exits(grid, e, c, height, width) < 2:
                    grid[e, c] = 0
                    changed = True


@wp.func
def is_bend(grid: Ints2, e: int, c: int, rooms: int, height: int, width: int) -> bool:
    """Return whether ``c`` is a corridor cell with exactly two exits."""
    found = bool(False)
    if grid[e, c] > rooms:
        found = exits(grid, e, c, height, width) == 2
    return found


@wp.func
def cut_horseshoes(grid: Ints2, e: int, rooms: int, height: int, width: int) -> None:
    """Shorten detours: where a corridor leaves cell p sideways, runs two cells along and returns at q = p + 2 steps,
    join p and q directly and fill the detour.
    """
    changed = bool(True)
    while changed:
        changed = bool(False)
        for p in range(height * width):
            i = p / width
            j = p - i * width
            if i % 2 == 1 and j % 2 == 1 and grid[e, p] > 0:
                for turn in range(4):
                    along = wp.where(turn < 2, 1, width)
                    q = neighbour(p, wp.where(turn < 2, 1, 3), 2, height, width)
                    away = wp.where(turn < 2, width, 1)
                    out_side = wp.where(turn < 2, 3, 1)
                    if turn % 2 == 1:
                        away = -away
                        out_side -= 1
                    far = neighbour(p, out_side, 2, height, width)
                    if q >= 0 and far >= 0:
                        if grid[e, q] > 0 and grid[e, p + along] == 0:
                            bends = int(0)
                            for n in range(5):
                                c = p + away
                                if n == 1:
                                    c = far
                                if n == 2:
                                    c = far + along
                                if n == 3:
                                    c = q + 2 * away
                                if n == 4:
                                    c = q + away
                                if is_bend(grid, e, c, rooms, height, width):
                                    bends += 1
                            if bends == 5:
                                grid[e, p + along] = grid[e, far]
                                grid[e, p + away] = 0
                                grid[e, far] = 0
                                grid[e, far + along] = 0
                                grid[e, q + 2 * away] = 0
                                grid[e, q + away] = 0
                                changed = True


@wp.func
def raise_walls(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int) -> None:
    """Write walls between open cells and rock, some of them with a decal."""
    height = levels.height[k]
    width = levels.width[k]
    for axis in range(2):
        for i in range(height):
            for j in range(width):
                behind = i * width + j - wp.where(axis == 0, 1, width)
                texture = int(0)
                if wp.where(axis == 0, j, i) > 0:
                    if (grid[e, i * width + j] > 0) != (grid[e, behind] > 0):
                        texture = int(levels.wall_texture[k])
                        if next_unit(w, e) < levels.decal_share[k]:
                            texture = levels.first_decal[k] + next_below(w, e, levels.num_decals[k])
                w.walls[e, axis, i, j] = wp.uint8(texture)


@wp.func
def choose_cells(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int, rooms: int) -> None:
    """Choose start and object cells in every room, all different, by selection sampling."""
    cells = levels.height[k] * levels.width[k]
    for s in range(w.spawn_cell.shape[1]):
        w.spawn_cell[e, s] = -1
    for s in range(w.object_cell.shape[1]):
        w.object_cell[e, s] = -1
    num_starts = int(0)
    num_objects = int(0)
    for room in range(1, rooms + 1):
        remaining = int(0)
        for c in range(cells):
            if grid[e, c] == room:
                remaining += 1
        starts = levels.room_starts[k]
        objects = levels.room_objects[k]
        for c in range(cells):
            if grid[e, c] == room:
                pick = next_below(w, e, remaining)
                if pick < starts:
                    w.spawn_cell[e, num_starts] = c
                    num_starts += 1
                    starts -= 1
                elif pick < starts + objects:
                    w.object_cell[e, num_objects] = c
                    num_objects += 1
                    objects -= 1
                remaining -= 1


@wp.func
def draw_maze(w: Worlds, levels: Levels, grid: Ints2, e: int, k: int) -> None:
    """Generate a new maze for environment ``e``: its walls, start cells and object cells."""
    height = levels.height[k]
    width = levels.width[k]
    for c in range(height * width):
        grid[e, c] = 0
    rooms = place_rooms(w, levels, grid, e, k)
    regions = carve_corridors(w, levels, grid, e, k, rooms)
    join_regions(w, levels, grid, e, k, regions)
    fill_dead_ends(grid, e, rooms, height, width)
    cut_horseshoes(grid, e, rooms, height, width)
    raise_walls(w, levels, grid, e, k)
    choose_cells(w, levels, grid, e, k, rooms)


@wp.func
def draw_listed(w: Worlds, e: int, cells: Ints2) -> int:
    """Draw one of the cells that ``cells[e]`` lists before its first -1."""
    count = int(0)
    for s in range(cells.shape[1]):
        if cells[e, s] >= 0:
            count += 1
    return cells[e, next_below(w, e, count)]
