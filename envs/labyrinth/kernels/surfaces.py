"""Walls, floors and ceilings: intersections with the ray of a column, and their texels."""

from __future__ import annotations

import warp as wp

from ..textures import LEVELS, SIZE
from .pixels import Bytes, put_texel

_LEVELS, TEXTURE_PIXELS, _BITS = wp.constant(LEVELS), wp.constant(SIZE), wp.constant(SIZE.bit_length() - 1)
_POSITIVE = wp.constant(4096.0)  # a multiple of every texture's size: makes truncation round down
_LIT = wp.constant(120.0)  # distance up to which walls and floors have full brightness


@wp.func
def cast_ray(walls: wp.array3d(dtype=wp.uint8), x: float, y: float, dx: float, dy: float):
    """Return the first wall edge along ``(x, y) + t * (dx, dy)``, in cells: (t, texture, place along the edge, axis).

    Texture 0: the ray leaves the grid. The place increases to the viewer's right.
    """
    height = walls.shape[1] - 1
    width = walls.shape[2] - 1
    j = int(wp.floor(x))
    i = int(wp.floor(y))
    step_x = int(1)
    step_y = int(1)
    if dx < 0.0:
        step_x = -1
    if dy < 0.0:
        step_y = -1
    each_x = 1.0 / wp.max(wp.abs(dx), 1.0e-9)
    each_y = 1.0 / wp.max(wp.abs(dy), 1.0e-9)
    edge_x = j + (step_x + 1) / 2  # index of the next edge line to cross
    edge_y = i + (step_y + 1) / 2
    next_x = wp.abs(float(edge_x) - x) * each_x
    next_y = wp.abs(float(edge_y) - y) * each_y
    t = float(0.0)
    texture = int(0)
    axis = int(0)
    place = float(0.0)
    while texture == 0 and i >= 0 and j >= 0 and i < height and j < width:
        if next_x < next_y:
            texture = int(walls[0, i, edge_x])
            t = next_x
            axis = 0
            edge_x += step_x
            j += step_x
            next_x += each_x
        else:
            texture = int(walls[1, edge_y, j])
            t = next_y
            axis = 1
            edge_y += step_y
            i += step_y
            next_y += each_y
    if axis == 0:
        place = -float(step_x) * (y + t * dy)
    else:
        place = float(step_y) * (x + t * dx)
    return t, texture, place, axis


@wp.func
def mip_base(count: int, texture: int, level: int) -> int:
    """Return `textures.mip_offset`."""
    base = int(0)
    area = int(TEXTURE_PIXELS * TEXTURE_PIXELS)
    k = int(0)
    while k < level:
        base += count * area
        area = area >> 2
        k += 1
    return base + texture * area


@wp.func
def fill_plane(
    frame: Bytes,
    texels: Bytes,
    count: int,
    texture: int,
    first: int,
    width: int,
    height: int,
    begin: int,
    end: int,
    sign: int,
    drop: float,
    pitch: float,
    x: float,
    y: float,
    dx: float,
    dy: float,
    scale: float,
):
    """Draw floor (``sign`` 1) or ceiling (-1) in rows begin..end: the plane ``drop`` below or above the eye.

    Rows are visited outwards from the horizon, one mip level after the other; ``scale`` is texels per map unit. A row
    at slope m lies at depth ``drop / m`` and covers ``2 * pitch * scale * drop / m^2`` texels.
    """
    n = 2 * begin + 1 - height  # slope over pitch of the row nearest the horizon
    if sign < 0:
        n = height + 1 - 2 * end
    last = n + 2 * (end - begin)
    pixel = first + (height - 1 + sign * n) / 2 * width
    lit = int(0.4 * 65536.0 * _LIT * pitch / drop)
    level = int(_LEVELS - 1)
    bound = wp.sqrt(2.0 * scale * drop / (2.8 * pitch * float(1 << (level - 1))))  # bound of n at this level
    area = int(TEXTURE_PIXELS * TEXTURE_PIXELS) >> (2 * level)
    before = mip_base(count, 0, level)
    s = scale / float(1 << level)
    while level >= 0:
        stop = int(last)
        if level > 0:
            stop = wp.min(last, int(wp.ceil(bound)))
        mask = (TEXTURE_PIXELS >> level) - 1
        shift = _BITS - level
        base = before + texture * area
        x0 = x * s + _POSITIVE
        y0 = y * s + _POSITIVE
        along_x = dx * s * drop / pitch
        along_y = dy * s * drop / pitch
        while n < stop:
            nearness = 1.0 / float(n)
            u = int(x0 + along_x * nearness) & mask
            v = int(y0 + along_y * nearness) & mask
            put_texel(frame, pixel, texels, base + (v << shift) + u, 153 + wp.min(103, (lit * n) >> 8))
            n += 2
            pixel += sign * width
        level -= 1
        bound = bound * 1.4142135
        area = area << 2
        before -= count * area
        s = s * 2.0


@wp.func
def fill_wall(
    frame: Bytes,
    texels: Bytes,
    count: int,
    texture: int,
    first: int,
    width: int,
    height: int,
    begin: int,
    end: int,
    t: float,
    eye: float,
    pitch: float,
    place: float,
    slant: float,
    scale: float,
    axis: int,
):
    """Draw a wall at depth t in rows begin..end; ``slant`` is the cosine between the ray and the wall's normal."""
    covered = t * 2.0 * pitch * scale  # texels covered by a row
    area = covered * covered / wp.max(slant, 0.01)
    level = int(0)
    while area > 2.0 and level < _LEVELS - 1:
        area = area * 0.25
        level += 1
    s = scale / float(1 << level)
    mask = (TEXTURE_PIXELS >> level) - 1
    shift = _BITS - level
    base = mip_base(count, texture, level) + (int(wp.floor(place * s)) & mask)
    f = int((0.6 + 0.4 * wp.min(1.0, _LIT / t)) * (256.0 - 48.0 * float(axis)))
    v = (t * float(2 * begin + 1 - height) * pitch - eye) * s + 1024.0  # makes truncation round down
    dv = 2.0 * t * pitch * s
    row = int(begin)
    pixel = first + begin * width
    while row < end:
        put_texel(frame, pixel, texels, base + ((int(v) & mask) << shift), f)
        v += dv
        row += 1
        pixel += width
