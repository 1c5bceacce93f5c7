"""Procedural wall, floor and ceiling textures: deterministic, tileable, computed from integers and closed forms.

A texture is ``SIZE`` x ``SIZE`` uint8 RGB; row 0 is the top of a wall. ``TEXTURES`` maps names to indices; index 0
means "no texture" (no wall, or sky). ``texture_table`` stacks them for the renderer, followed by a mip chain:
``mip_offset`` gives the beginning of a texture's mip level.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

SIZE = 64
LEVELS = 5  # mip levels: 64, 32, 16, 8, 4 texels per side
Image = NDArray[np.floating]  # [SIZE, SIZE, 3] or [SIZE, SIZE], 0..1
Mask = NDArray[np.bool_]  # [SIZE, SIZE]
Colour = tuple[float, float, float]

ROW, COLUMN = np.mgrid[0:SIZE, 0:SIZE]
X, Y = (COLUMN + 0.5) / SIZE, (ROW + 0.5) / SIZE  # texel centres, 0..1, Y downwards


def hash01(*keys: NDArray[np.int64] | int) -> Image:
    """Return uniform numbers in [0, 1) from integers: the avalanche of a 32-bit xor-shift-multiply hash."""
    h = np.uint32(2166136261) * np.ones(np.broadcast_shapes(*(np.shape(k) for k in keys)), np.uint32)
    with np.errstate(over="ignore"):  # wrapping is intended
        for key in keys:
            h = (h ^ np.asarray(key).astype(np.uint32)) * np.uint32(0x9E3779B1)
            h = (h ^ (h >> np.uint32(15))) * np.uint32(0x85EBCA77)
            h = h ^ (h >> np.uint32(13))
    return (h >> np.uint32(8)) / float(1 << 24)


def noise(period: int, seed: int, octaves: int = 3) -> Image:
    """Return tileable value noise [SIZE, SIZE] in 0..1: ``period`` lattice cells per side, doubled each octave."""
    total, weight = np.zeros((SIZE, SIZE)), 0.0
    for octave in range(octaves):
        p = period << octave
        x, y = X * p, Y * p
        j, i = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        fx, fy = x - j, y - i
        fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
        corner = [hash01((i + a) % p, (j + b) % p, seed, octave) for a in (0, 1) for b in (0, 1)]
        value = (corner[0] * (1 - fx) + corner[1] * fx) * (1 - fy) + (corner[2] * (1 - fx) + corner[3] * fx) * fy
        total += value * 0.5**octave
        weight += 0.5**octave
    return total / weight


def tint(brightness: Image, colour: Colour) -> Image:
    """Return ``colour`` scaled by ``brightness`` [SIZE, SIZE] (1 = unchanged)."""
    image: Image = brightness[..., None] * np.array(colour)
    return image


def paint(colour: Colour) -> Image:
    """Return a uniform colour."""
    return tint(np.ones((SIZE, SIZE)), colour)


def mix(a: Image, b: Image, mask: Image | Mask) -> Image:
    """Return ``b`` where ``mask`` is 1, ``a`` where it is 0."""
    mask = mask.astype(float)
    return a * (1 - mask[..., None]) + b * mask[..., None]


def brick(colour: Colour, seed: int, rows: int = 8, columns: int = 4, mortar: Colour = (0.72, 0.70, 0.66)) -> Image:
    """Return running-bond bricks, each of its own brightness, with lit top and dark bottom edges."""
    i = np.floor(Y * rows).astype(np.int64)
    x = X * columns + 0.5 * (i % 2)
    j = np.floor(x).astype(np.int64) % columns
    u, v = x - np.floor(x), Y * rows - i
    bright = 0.72 + 0.38 * hash01(i, j, seed) + 0.2 * (noise(16, seed, 2) - 0.5)
    bright += 0.12 * (v < 0.25) - 0.14 * (v > 0.75)
    joint = (u < 0.07) | (u > 0.93) | (v < 0.13)
    return mix(tint(bright, colour), tint(0.8 + 0.3 * noise(16, seed + 1, 2), mortar), joint)


def stones(colour: Colour, seed: int, cells: int = 5, moss: Colour | None = None) -> Image:
    """Return irregular field stones: a tileable Voronoi diagram with dark joints; ``moss`` grows in patches."""
    first, second, bright = np.full((SIZE, SIZE), 9.0), np.full((SIZE, SIZE), 9.0), np.zeros((SIZE, SIZE))
    for i in range(-1, cells + 1):
        for j in range(-1, cells + 1):
            a, b = i % cells, j % cells
            cy, cx = (i + 0.15 + 0.7 * hash01(a, b, seed)) / cells, (j + 0.15 + 0.7 * hash01(a, b, seed + 1)) / cells
            d = np.hypot(X - cx, Y - cy)
            nearer = d < first
            second = np.where(nearer, first, np.minimum(second, d))
            bright = np.where(nearer, 0.6 + 0.5 * hash01(a, b, seed + 2), bright)
            first = np.where(nearer, d, first)
    edge = np.clip((second - first) * cells * 4, 0, 1)
    image = tint((bright + 0.3 * (noise(16, seed, 2) - 0.5)) * (0.35 + 0.65 * edge), colour)
    if moss is None:
        return image
    return mix(image, tint(0.6 + 0.6 * noise(16, seed, 3), moss), 0.8 * (noise(4, seed + 9) > 0.55))


def panel(colour: Colour, seed: int, count: int = 2) -> Image:
    """Return bevelled metal panels, ``count`` per side, with rivets and brushed streaks."""
    u, v = (X * count) % 1, (Y * count) % 1
    bright = 0.85 + 0.15 * (hash01(ROW, seed) - 0.5) + 0.12 * (noise(4, seed) - 0.5)
    bright = bright + 0.3 * ((u < 0.06) | (v < 0.06)) - 0.4 * ((u > 0.94) | (v > 0.94))
    rivet = np.zeros_like(X)
    for cx in (0.16, 0.84):
        for cy in (0.16, 0.84):
            rivet = np.maximum(rivet, np.hypot(u - cx, v - cy) < 0.055)
    return tint(bright + 0.3 * rivet, colour)


def planks(colour: Colour, seed: int, count: int = 4, upright: bool = True) -> Image:
    """Return wooden boards with grain, upright for walls or lying for floors."""
    along, across = (Y, X) if upright else (X, Y)
    board = np.floor(across * count).astype(np.int64)
    v = across * count - board
    grain = np.sin((across * 46 + 3 * (noise(4, seed) - 0.5) + 1.2 * np.sin(2 * np.pi * (along + board / 3))) * 4)
    bright = 0.8 + 0.3 * hash01(board, seed) + 0.09 * grain - 0.45 * ((v < 0.06) | (v > 0.96))
    end = np.abs((along - hash01(board, seed + 1)) % 1) < 0.03
    return tint(np.where(end, 0.5 * bright, bright), colour)


def tiles(colour: Colour, other: Colour, seed: int, count: int = 4, joint: Colour = (0.45, 0.45, 0.47)) -> Image:
    """Return square tiles in two colours, laid as a chequerboard, with joints and a soft shine."""
    i, j = np.floor(Y * count).astype(np.int64), np.floor(X * count).astype(np.int64)
    u, v = X * count - j, Y * count - i
    bright = 0.92 + 0.12 * hash01(i, j, seed) + 0.14 * (0.5 - v)
    image = mix(tint(bright, colour), tint(bright, other), (i + j) % 2)
    return mix(image, paint(joint), (u < 0.05) | (v < 0.05) | (u > 0.95) | (v > 0.95))


def stripes(colour: Colour, other: Colour, seed: int, count: int = 4, slant: int = 0) -> Image:
    """Return painted stripes, upright (``slant`` 0) or diagonal (1)."""
    phase = (X + slant * Y) * count % 1
    bright = 0.92 + 0.16 * (noise(8, seed) - 0.5)
    return mix(tint(bright, colour), tint(bright, other), phase < 0.5)


def speckle(colour: Colour, other: Colour, seed: int, period: int = 4, contrast: float = 0.35) -> Image:
    """Return two colours blended by noise: plaster, sand, grass, carpet, hedge."""
    n = noise(period, seed, 4)
    fine = hash01(ROW, COLUMN, seed)
    blend = np.clip((n - 0.5) * 3 + 0.5, 0, 1)
    image: Image = mix(paint(colour), paint(other), blend) * (1 + contrast * (fine - 0.5))[..., None]
    return image


def hedge(seed: int) -> Image:
    """Return a clipped hedge: leaves in many shades of green."""
    image: Image = stones((0.28, 0.58, 0.18), seed, cells=9) * (0.7 + 0.6 * noise(8, seed + 5, 2))[..., None]
    return image


def polygon(points: list[tuple[float, float]]) -> Mask:
    """Return the inside of a polygon with corners (x, y) in 0..1, by the even-odd rule."""
    inside = np.zeros((SIZE, SIZE), bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        crosses = (y0 > Y) != (y1 > Y)
        slope = (x1 - x0) / (y1 - y0) if y1 != y0 else 0.0
        inside ^= crosses & (x0 + (Y - y0) * slope > X)
    return inside


def star(points: int, inner: float) -> Mask:
    """Return a star of ``points`` rays about the centre; ``inner`` is the ratio of the radii of notches and tips."""
    corners = []
    for k in range(2 * points):
        radius, angle = (0.26 if k % 2 == 0 else 0.26 * inner), np.pi * k / points
        corners.append((0.5 + radius * np.sin(angle), 0.5 - radius * np.cos(angle)))
    return polygon(corners)


def glyph(name: str) -> Mask:
    """Return the sign on a poster."""
    r, dx, dy = np.hypot(X - 0.5, Y - 0.5), np.abs(X - 0.5), np.abs(Y - 0.5)
    shapes: dict[str, Callable[[], Mask]] = {
        "disc": lambda: r < 0.23,
        "ring": lambda: (r < 0.25) & (r > 0.13),
        "cross": lambda: ((dx < 0.08) & (dy < 0.25)) | ((dy < 0.08) & (dx < 0.25)),
        "saltire": lambda: (np.abs(dx - dy) < 0.09) & (np.maximum(dx, dy) < 0.24),
        "square": lambda: np.maximum(dx, dy) < 0.2,
        "diamond": lambda: dx + dy < 0.27,
        "triangle": lambda: polygon([(0.5, 0.24), (0.77, 0.72), (0.23, 0.72)]),
        "star": lambda: star(5, 0.42),
        "moon": lambda: (r < 0.25) & (np.hypot(X - 0.6, Y - 0.44) > 0.2),
        "heart": lambda: (
            (np.hypot(X - 0.39, Y - 0.41) < 0.135)
            | (np.hypot(X - 0.61, Y - 0.41) < 0.135)
            | polygon([(0.275, 0.47), (0.725, 0.47), (0.5, 0.77)])
        ),
        "hourglass": lambda: (dx < dy + 0.02) & (dy < 0.24) & (dx < 0.24),
        "arrow": lambda: polygon(
            [(0.5, 0.22), (0.75, 0.5), (0.59, 0.5), (0.59, 0.77), (0.41, 0.77), (0.41, 0.5), (0.25, 0.5)]
        ),
    }
    return shapes[name]()


def poster(sign: str, ink: Colour, paper: Colour, wall: Image) -> Image:
    """Return a framed sign hanging on ``wall``."""
    reach = np.maximum(np.abs(X - 0.5), np.abs(Y - 0.5))
    image = mix(wall, paint((0.12, 0.10, 0.09)), reach < 0.39)
    image = mix(image, paint(paper), reach < 0.35)
    return mix(image, paint(ink), glyph(sign))


def door(colour: Colour) -> Image:
    """Return a panelled door in a dark frame, with a knob."""
    frame = (np.abs(X - 0.5) > 0.44) | (Y < 0.06)
    inset = (np.abs(np.abs(X - 0.5) - 0.21) < 0.15) & ((np.abs(Y - 0.3) < 0.17) | (np.abs(Y - 0.74) < 0.19))
    rim = inset & ~((np.abs(np.abs(X - 0.5) - 0.21) < 0.12) & ((np.abs(Y - 0.3) < 0.14) | (np.abs(Y - 0.74) < 0.16)))
    image = tint(np.where(rim, 0.55, np.where(inset, 0.85, 1.0)), colour)
    image = mix(image, paint((0.16, 0.13, 0.11)), frame)
    knob = np.hypot(X - 0.86, Y - 0.55) < 0.045
    return mix(image, paint((0.95, 0.80, 0.35)), knob)


WHITE, BLACK, CREAM, GREY = (0.92, 0.92, 0.90), (0.13, 0.13, 0.15), (0.86, 0.80, 0.66), (0.55, 0.55, 0.57)
RED, GREEN, BLUE, YELLOW = (0.85, 0.15, 0.13), (0.13, 0.65, 0.22), (0.15, 0.32, 0.85), (0.95, 0.80, 0.15)
ORANGE, PURPLE, TEAL, PINK = (0.92, 0.48, 0.12), (0.55, 0.22, 0.65), (0.10, 0.60, 0.60), (0.95, 0.30, 0.50)
NIGHT, PINE = (0.10, 0.12, 0.40), (0.10, 0.35, 0.20)

POSTERS: dict[str, tuple[str, Colour, Colour]] = {
    "poster_red_disc": ("disc", RED, WHITE),
    "poster_blue_cross": ("cross", BLUE, YELLOW),
    "poster_green_triangle": ("triangle", GREEN, WHITE),
    "poster_yellow_star": ("star", YELLOW, NIGHT),
    "poster_white_moon": ("moon", WHITE, BLACK),
    "poster_pink_heart": ("heart", PINK, WHITE),
    "poster_orange_diamond": ("diamond", ORANGE, PINE),
    "poster_teal_ring": ("ring", TEAL, WHITE),
    "poster_black_arrow": ("arrow", BLACK, ORANGE),
    "poster_purple_square": ("square", PURPLE, YELLOW),
    "poster_white_saltire": ("saltire", WHITE, RED),
    "poster_blue_hourglass": ("hourglass", BLUE, WHITE),
}
"""Sign, its colour, and the colour of the paper. Consecutive textures, for levels that refer to them by number."""

WALLS: dict[str, Callable[[], Image]] = {
    "brick_red": lambda: brick((0.70, 0.27, 0.20), 1),
    "brick_blue": lambda: brick((0.27, 0.40, 0.72), 2),
    "brick_yellow": lambda: brick((0.85, 0.70, 0.33), 3, mortar=(0.5, 0.42, 0.3)),
    "brick_green": lambda: brick((0.32, 0.58, 0.36), 4),
    "brick_grey": lambda: brick((0.55, 0.55, 0.57), 5, mortar=(0.34, 0.34, 0.36)),
    "stone_grey": lambda: stones((0.66, 0.66, 0.68), 6),
    "stone_mossy": lambda: stones((0.60, 0.60, 0.55), 7, moss=(0.30, 0.52, 0.16)),
    "stone_sand": lambda: stones((0.88, 0.74, 0.50), 8, cells=4),
    "panel_steel": lambda: panel((0.62, 0.68, 0.74), 9),
    "panel_orange": lambda: panel((0.90, 0.50, 0.18), 10),
    "wood": lambda: planks((0.60, 0.40, 0.22), 11),
    "tiles_white": lambda: tiles((0.90, 0.91, 0.93), (0.80, 0.84, 0.88), 12),
    "tiles_teal": lambda: tiles((0.12, 0.60, 0.60), (0.20, 0.70, 0.68), 13, joint=WHITE),
    "tiles_purple": lambda: tiles(PURPLE, (0.80, 0.66, 0.86), 14),
    "stripes_red": lambda: stripes((0.80, 0.16, 0.16), WHITE, 15),
    "stripes_blue": lambda: stripes((0.20, 0.32, 0.70), (0.80, 0.85, 0.95), 16, count=3),
    "hazard": lambda: stripes((0.12, 0.12, 0.12), YELLOW, 17, count=3, slant=1),
    "plaster_cream": lambda: speckle(CREAM, (0.78, 0.70, 0.55), 18, contrast=0.1),
    "plaster_pink": lambda: speckle((0.90, 0.62, 0.62), (0.80, 0.50, 0.52), 19, contrast=0.1),
    "hedge": lambda: hedge(20),
    **{name: partial(poster, *look, brick(GREY, 5)) for name, look in POSTERS.items()},
    "door_red": lambda: door(RED),
    "door_green": lambda: door(GREEN),
    "door_blue": lambda: door(BLUE),
    "door_white": lambda: door(WHITE),
    "door_black": lambda: door(BLACK),
}
FLOORS: dict[str, Callable[[], Image]] = {
    "floor_grass": lambda: speckle((0.30, 0.52, 0.20), (0.42, 0.62, 0.26), 40),
    "floor_wood": lambda: planks((0.66, 0.47, 0.28), 41, upright=False),
    "floor_tiles": lambda: tiles((0.70, 0.68, 0.64), (0.48, 0.46, 0.44), 42, count=2),
    "floor_stone": lambda: stones((0.58, 0.55, 0.52), 43, cells=4),
    "floor_carpet": lambda: speckle((0.45, 0.16, 0.18), (0.52, 0.20, 0.20), 44, period=8),
    "floor_sand": lambda: speckle((0.82, 0.70, 0.48), (0.74, 0.62, 0.42), 45, contrast=0.2),
    "floor_metal": lambda: panel((0.45, 0.48, 0.52), 46),
}
CEILINGS: dict[str, Callable[[], Image]] = {
    "ceiling_panels": lambda: tiles((0.82, 0.82, 0.80), (0.76, 0.76, 0.75), 50, count=2),
    "ceiling_beams": lambda: planks((0.42, 0.29, 0.18), 51, count=2),
    "ceiling_plaster": lambda: speckle((0.74, 0.73, 0.70), (0.66, 0.65, 0.63), 52, contrast=0.1),
}
PAINTERS = {**WALLS, **FLOORS, **CEILINGS}
TEXTURES: dict[str, int] = {"none": 0} | {name: i + 1 for i, name in enumerate(PAINTERS)}
COUNT = -(-len(TEXTURES) // 3) * 3  # a multiple of 3: the mip chain then fits into a third as many pages


def mip_offset(count: int, texture: int, level: int) -> int:
    """Return the texel at which ``level`` of ``texture`` begins in a flattened table of ``count`` textures."""
    before = sum(count * (SIZE >> k) ** 2 for k in range(level))
    return before + texture * (SIZE >> level) ** 2


@cache
def texture_table() -> NDArray[np.uint8]:
    """Return all textures and their mip levels: uint8 [COUNT * 4 // 3, SIZE, SIZE, 3].

    The first COUNT pages are the textures at full size, by index. The flattened remainder holds level 1 of every
    texture, then level 2, and so on, each box-filtered from the previous one.
    """
    level: Image = np.zeros((COUNT, SIZE, SIZE, 3))
    for name, painter in PAINTERS.items():
        level[TEXTURES[name]] = np.clip(painter(), 0, 1) * 255
    texels = np.zeros((COUNT * 4 // 3 * SIZE * SIZE, 3), np.uint8)
    for k in range(LEVELS):
        if k:
            level = (level[:, ::2, ::2] + level[:, 1::2, ::2] + level[:, ::2, 1::2] + level[:, 1::2, 1::2]) / 4
        texels[mip_offset(COUNT, 0, k) : mip_offset(COUNT, COUNT, k)] = np.round(level).reshape(-1, 3)
    table = texels.reshape(-1, SIZE, SIZE, 3)
    table.flags.writeable = False
    return table
