"""Items drawn from closed-form expressions: fruit, gems, and flat figures.

A column's plane cuts an item in a slice. ``t`` is the depth at which the column's ray passes the item's centre on the
map, ``u`` its offset to the right of the centre, in radii; ``length`` is the ray's. Each ``draw_`` function writes
the rows of one slice where it is nearer than the wall at depth ``wall``: colours into ``frame``, or depths into
``depth`` where that is not empty.
"""

from __future__ import annotations

import warp as wp

from .pixels import Bytes, Floats, first_row, put_lit

SHAPES = {"none": 0, "apple": 1, "lemon": 2, "gem": 3, "vest": 4, "key": 5, "figure": 6}
APPLE, LEMON, GEM, VEST, KEY, FIGURE = (wp.constant(i) for i in range(1, 7))
WIDEST = wp.constant(1.2)  # largest sideways extent of any shape, in radii

wp.set_module_options({"enable_backward": False})


@wp.func
def reach(shape: int) -> float:
    """Return the sideways extent of a shape, in radii."""
    r = float(1.0)
    if shape == LEMON:
        r = WIDEST
    elif shape >= VEST:
        r = 0.9
    return r


@wp.func
def lemon_slice(w: float) -> float:
    """Return the squared radius, in radii, of a lemon's slice at ``w`` from its middle: a spheroid with two tips."""
    return wp.max(0.5 * (1.0 - w * w), 0.04 - 0.7 * (w - 0.98) * (w - 0.98))


@wp.func
def draw_fruit(
    frame: Bytes,
    depth: Floats,
    first: int,
    width: int,
    height: int,
    pitch: float,
    length: float,
    eye: float,
    wall: float,
    t: float,
    u: float,
    shape: int,
    radius: float,
    centre: float,
    colour: wp.vec3,
):
    """Draw a solid of round slices, lit from the upper left behind the eye: apple with stalk and leaf, or lemon."""
    drop = eye - centre
    squared = 1.0 - u * u
    if shape == LEMON:
        squared = lemon_slice(wp.abs(u))
    elif u > -0.1 and u < 0.6 and t < wall:
        half = 0.2 - 3.2 * (u - 0.35) * (u - 0.35)
        tint = wp.vec3(112.0, 196.0, 60.0)
        if u < 0.1:
            half = 0.2
            tint = wp.vec3(112.0, 74.0, 38.0)
        row = first_row((drop - (1.2 + half) * radius) / t, pitch, height)
        end = first_row((drop - (1.2 - half) * radius) / t, pitch, height)
        while row < end:
            put_lit(frame, depth, first + row * width, t, tint, 1.0, 0.0)
            row += 1
    squared = wp.max(squared, 0.0) * radius * radius
    ground = t * t * length * length
    # rows where the discriminant b^2 - a c below is positive: an interval of slopes m
    mid = t * length * length * drop
    away = ground - squared
    root = wp.sqrt(wp.max(0.0, mid * mid + away * length * length * (squared - drop * drop)))
    row = first_row((mid - root) / away, pitch, height)
    end = first_row((mid + root) / away, pitch, height)
    pixel = first + row * width
    while row < end:
        m = float(2 * row + 1 - height) * pitch
        a = length * length + m * m
        b = t * length * length + drop * m
        c = ground + drop * drop - squared
        hit = (b - wp.sqrt(wp.max(0.0, b * b - a * c))) / a
        if hit < wall:
            up = (drop - hit * m) / radius
            out = (t - hit) * length / radius
            light = (0.60 * up - 0.45 * u + 0.66 * out) / wp.sqrt(u * u + up * up + out * out)
            shine = wp.clamp(8.0 * light - 7.2, 0.0, 0.7)
            put_lit(frame, depth, pixel, hit, colour, 0.4 + 0.6 * wp.max(0.0, light), shine)
        row += 1
        pixel += width


@wp.func
def draw_gem(
    frame: Bytes,
    depth: Floats,
    first: int,
    width: int,
    height: int,
    pitch: float,
    length: float,
    eye: float,
    wall: float,
    t: float,
    u: float,
    radius: float,
    centre: float,
    colour: wp.vec3,
):
    """Draw an octahedron, 1.5 times as high as wide, with an edge towards the eye."""
    half = radius * (1.0 - wp.abs(u))
    drop = eye - centre
    tall = 1.0 / 1.5
    near = t - half / length
    back = t + half / length
    low = wp.min(wp.min(drop / near, drop / back), (drop - 1.5 * half) / t)
    high = wp.max(wp.max(drop / near, drop / back), (drop + 1.5 * half) / t)
    row = first_row(low, pitch, height)
    end = first_row(high, pitch, height)
    pixel = first + row * width
    left = wp.sign(u)
    while row < end:
        m = float(2 * row + 1 - height) * pitch
        upper = length + tall * m
        lower = length - tall * m
        hit_upper = (t * length + tall * drop - half * wp.sign(upper)) / upper
        hit_lower = (t * length - tall * drop - half * wp.sign(lower)) / lower
        hit = wp.max(hit_upper, hit_lower)
        if hit < wall:
            shade = 0.88 - 0.12 * left
            shine = 0.2 - 0.2 * left
            if hit_lower > hit_upper:
                shade = 0.62 - 0.16 * left
                shine = 0.0
            put_lit(frame, depth, pixel, hit, colour, shade, shine)
        row += 1
        pixel += width


@wp.func
def flat_shade(shape: int, u: float, v: float) -> float:
    """Return the brightness of a flat figure at (u, v) in radii from its centre, u right and v up; 0 is transparent."""
    w = wp.abs(u)
    shade = float(0.0)
    if shape == VEST:
        if w < 0.82 and not (v > 0.5 and w < 0.3) and not (v > 0.0 and v < 0.7 and w > 0.6):
            shade = 1.0 - 0.4 * w
            if w < 0.07 or v < -0.75:
                shade = 0.4
    elif shape == KEY:
        ring = (u + 0.5) * (u + 0.5) + v * v
        if ring < 0.16 and ring > 0.03:
            shade = 1.0
        if u > -0.2 and u < 0.9 and wp.abs(v) < 0.12:
            shade = 1.0
        if v < 0.0 and v > -0.4 and ((u > 0.4 and u < 0.55) or (u > 0.72 and u < 0.9)):
            shade = 0.8
    else:
        if w * w + (v - 0.74) * (v - 0.74) < 0.07:
            shade = 1.0
            if v > 0.70 and v < 0.82:
                shade = 0.3
        elif v < 0.48 and v > -0.1 and w < 0.6:
            shade = 0.85
            if w > 0.36:
                shade = 0.6
        elif v <= -0.1 and w > 0.05 and w < 0.36:
            shade = 0.5
    return shade


@wp.func
def draw_flat(
    frame: Bytes,
    depth: Floats,
    first: int,
    width: int,
    height: int,
    pitch: float,
    eye: float,
    t: float,
    u: float,
    shape: int,
    radius: float,
    centre: float,
    colour: wp.vec3,
):
    """Draw a flat figure at depth t that faces the column's ray."""
    drop = eye - centre
    row = first_row((drop - radius) / t, pitch, height)
    end = first_row((drop + radius) / t, pitch, height)
    pixel = first + row * width
    while row < end:
        m = float(2 * row + 1 - height) * pitch
        shade = flat_shade(shape, u, (drop - t * m) / radius)
        if shade > 0.0:
            put_lit(frame, depth, pixel, t, colour, shade, 0.0)
        row += 1
        pixel += width
