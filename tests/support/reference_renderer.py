"""A slow renderer for one world: every pixel's ray against every wall, plane and item, in NumPy float64.

Written from the geometry that envs/labyrinth/kernels/render.py, sky.py and shapes.py promise, not from their
algorithms: no grid walk, no rows or columns, no mip table, items as quadrics, polyhedra and billboards in space.
"""

import numpy as np

from morello.envs.labyrinth.kernels import render as k
from morello.envs.labyrinth.kernels.shapes import SHAPES
from morello.envs.labyrinth.textures import texture_table

FAR = 20000.0
SIZE = 64


def texture_at(texture, u, v, level):
    """The mean of the 2^level x 2^level texels around texture coordinates (u, v), in texels; float [..., 3]."""
    side = 1 << level
    blocks = texture_table()[texture].astype(float).reshape(SIZE // side, side, SIZE // side, side, 3).mean((1, 3))
    return blocks[(np.floor(v).astype(int) % SIZE) // side, (np.floor(u).astype(int) % SIZE) // side]


def textured(texture, u, v, level):
    out = np.zeros((*np.shape(u), 3))
    for value in np.unique(level):
        at = level == value
        out[at] = texture_at(texture, u[at], v[at], int(value))
    return out


def fade(t):
    return 0.6 + 0.4 * np.minimum(1, 120 / t)


def plane(world, look, m, dx, dy, pitch, drop, texture):
    """Colour and depth of the plane ``drop`` below the eye (above, if negative), where the ray meets it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(m * drop > 0, drop / m, np.inf)
    seen = np.isfinite(t)
    texels = SIZE / look[k.TEXTURE_SIZE]
    far = np.where(seen, t, 1.0)
    covered = 2 * pitch * texels * far * far / abs(drop)  # by a row
    level = np.clip(np.floor(np.log2(covered / 2.8)) + 1, 0, 4)
    x, y = world["position"][0] + far * dx, world["position"][1] + far * dy
    return textured(texture, x * texels, y * texels, level) * fade(far)[..., None], t


def wall(world, look, pitch, m, dx, dy, axis, i, j, texture):
    """Colour and depth of one wall edge; depth inf where the ray misses it."""
    cell, eye, tall = look[k.CELL], look[k.EYE_HEIGHT], look[k.WALL_HEIGHT]
    (px, py), length = world["position"], np.hypot(dx, dy)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (j * cell - px) / dx if axis == 0 else (i * cell - py) / dy
    along = py + t * dy if axis == 0 else px + t * dx
    start = (i if axis == 0 else j) * cell
    z = eye - t * m
    hit = (t > 0) & (along >= start) & (along <= start + cell) & (z > 0) & (z <= tall)
    t = np.where(hit, t, np.inf)
    far = np.where(hit, t, 1.0)
    rightwards = -np.sign(dx) if axis == 0 else np.sign(dy)
    texels = SIZE / look[k.TEXTURE_SIZE]
    cosine = np.abs(dx if axis == 0 else dy) / length
    covered = (far * 2 * pitch * texels) ** 2 / np.maximum(cosine, 0.01)
    level = np.clip(np.ceil(np.log2(covered / 2) / 2), 0, 4)
    colour = textured(texture, np.where(hit, along * rightwards, 0) * texels, np.where(hit, -z, 0) * texels, level)
    return colour * (fade(far) * (1.0 if axis == 0 else 0.8125))[..., None], t


def sky(m, dx, dy):
    """Colour of the sky towards each ray: azimuth and elevation decide."""
    angle, rise = np.arctan2(dy, dx), -m / np.hypot(dx, dy)
    colour = np.array([198.0, 220, 240]) - np.array([126.0, 80, 22]) * np.minimum(1, rise)[..., None]
    hills = 0.10 + 0.03 * np.sin(3 * angle) + 0.02 * np.sin(2 * angle) + 0.015 * np.cos(angle)
    quarter = np.round(angle / (np.pi / 2)).astype(int) % 4  # east, north, west, south
    side = np.tan(angle - quarter * np.pi / 2)
    height = np.choose(
        quarter,
        [
            0.52 - 1.1 * abs(side),
            np.minimum(0.36, 1.6 - 4.5 * abs(side)),
            0.40 * np.sqrt(np.maximum(0, 1 - (3 * side) ** 2)),
            0.50 - 5 * abs(abs(side) - 0.13),
        ],
    )
    paint = np.array([[112.0, 116, 138], [186, 104, 72], [84, 120, 190], [128, 88, 140]])[quarter]
    snow = (quarter == 0) & (rise >= np.maximum(height - 0.16, 0.30))
    paint = np.where(snow[..., None], np.array([246.0, 248, 252]), paint) * (0.9 + 0.1 * np.sign(side))[..., None]
    green = np.array([106.0, 140, 118]) * (0.9 + 0.25 * np.sin(2 * angle))[..., None]
    ground = np.where((height > hills)[..., None], paint, green)
    return np.where((rise > np.maximum(height, hills))[..., None], colour, ground)


def quadric(origin, ray, axes):
    """Depth at which ``origin + t * ray`` enters the ellipsoid with semi-``axes`` about 0; inf if it misses."""
    o, d = origin / axes, ray / axes
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    inside = b * b - a * c
    return np.where((inside >= 0) & (b < 0), (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)


def octahedron(origin, ray, size):
    """Depth at which the ray enters |x| + |y| + |z| / 1.5 <= size, by clipping it with the eight half-spaces."""
    enter, leave = np.full(ray.shape[:-1], -np.inf), np.full(ray.shape[:-1], np.inf)
    for normal in np.ndindex(2, 2, 2):
        n = (2 * np.array(normal) - 1) * np.array([1, 1, 1 / 1.5])
        speed, gap = ray @ n, size - origin @ n
        with np.errstate(divide="ignore", invalid="ignore"):
            t = gap / speed
        enter = np.where(speed < 0, np.maximum(enter, t), enter)
        leave = np.where(speed > 0, np.minimum(leave, t), leave)
    return np.where(enter <= leave, enter, np.inf)


def flat(shape, u, v):
    """Brightness of the flat figures: the last of the layers that covers a point."""
    w, none = abs(u), np.zeros_like(u)
    if shape == SHAPES["vest"]:
        cloth = (w < 0.82) & ((v <= 0.5) | (w >= 0.3)) & ((v <= 0) | (v >= 0.7) | (w <= 0.6))
        return np.select([~cloth, (w < 0.07) | (v < -0.75)], [none, none + 0.4], 1 - 0.4 * w)
    if shape == SHAPES["key"]:
        bow = np.hypot(u + 0.5, v)
        teeth = (v < 0) & (v > -0.4) & ((abs(u - 0.475) < 0.075) | (abs(u - 0.81) < 0.09))
        whole = ((bow < 0.4) & (bow > 0.03**0.5)) | ((u > -0.2) & (u < 0.9) & (abs(v) < 0.12))
        return np.select([teeth, whole], [none + 0.8, none + 1], none)
    head = np.hypot(w, v - 0.74) < 0.07**0.5
    torso, legs = (v < 0.48) & (v > -0.1) & (w < 0.6), (v <= -0.1) & (w > 0.05) & (w < 0.36)
    visor, arms = head & (v > 0.70) & (v < 0.82), torso & (w > 0.36)
    return np.select([visor, head, arms, torso, legs], [none + b for b in (0.3, 1, 0.6, 0.85, 0.5)], none)


def item(world, look, kind, place, m, dx, dy):
    """Colour and depth of one item. Its own frame per ray: x right of the ray, y along it, z up from its centre."""
    shape, radius, centre = int(kind[k.SHAPE]), kind[k.RADIUS], kind[k.CENTRE_HEIGHT]
    colour = kind[[k.RED, k.GREEN, k.BLUE]]
    extent = {SHAPES["lemon"]: 1.2, SHAPES["vest"]: 0.9, SHAPES["key"]: 0.9, SHAPES["figure"]: 0.9}.get(shape, 1.0)
    offset = place - world["position"]
    if np.hypot(*offset) <= extent * radius:
        return np.zeros((*dx.shape, 3)), np.full(dx.shape, np.inf)
    length = np.hypot(dx, dy)
    right = -(offset[0] * dy - offset[1] * dx) / length  # of the item's centre, where the ray passes
    middle = (offset[0] * dx + offset[1] * dy) / length**2
    origin = np.stack([right, -middle * length, np.full_like(dx, look[k.EYE_HEIGHT] - centre)], -1)
    ray = np.stack([np.zeros_like(dx), length, -m], -1)
    t, shine, shade = np.full(dx.shape, np.inf), np.zeros_like(dx), np.zeros_like(dx)
    extra, growth = np.zeros(dx.shape, bool), np.zeros((*dx.shape, 3))
    if shape in (SHAPES["apple"], SHAPES["lemon"]):
        if shape == SHAPES["apple"]:
            t = quadric(origin, ray, np.array([radius] * 3))
        else:
            t = quadric(origin, ray, radius * np.array([1, 0.5**0.5, 0.5**0.5]))
            tip = radius * np.array([0.2 / 0.7**0.5, 0.2, 0.2])
            for end in (-0.98, 0.98):
                t = np.minimum(t, quadric(origin - np.array([end * radius, 0, 0]), ray, tip))
        hit = origin + np.where(np.isfinite(t), t, 1)[..., None] * ray
        normal = hit / np.maximum(np.linalg.norm(hit, axis=-1, keepdims=True), 1e-9)
        light = normal @ np.array([-0.45, -0.66, 0.60])
        shine, shade = np.clip(8 * light - 7.2, 0, 0.7), 0.4 + 0.6 * np.maximum(light, 0)
        if shape == SHAPES["apple"]:
            u, z = right / radius, (origin[..., 2] - middle * m) / radius
            stalk = (abs(u) < 0.1) & (abs(z - 1.2) <= 0.2)
            leaf = (u >= 0.1) & (u < 0.6) & (abs(z - 1.2) <= 0.2 * (1 - ((u - 0.35) / 0.25) ** 2))
            growth = np.where(stalk[..., None], np.array([112.0, 74, 38]), np.array([112.0, 196, 60]))
            extra = (stalk | leaf) & ~np.isfinite(t)
            t = np.where(extra, middle, t)
    elif shape == SHAPES["gem"]:
        t = octahedron(origin, ray, radius)
        hit = origin + np.where(np.isfinite(t), t, 1)[..., None] * ray
        left = np.sign(right)
        upper = hit[..., 2] >= 0
        upper ^= np.abs(hit[..., 1]) < 1e-9
        shade = np.where(upper, 0.88 - 0.12 * left, 0.62 - 0.16 * left)
        shine = np.where(upper, 0.2 - 0.2 * left, 0)
    elif shape:
        u, v = right / radius, (origin[..., 2] - middle * m) / radius
        shade = np.where((abs(u) < 0.9) & (abs(v) <= 1), flat(shape, u, v), 0)
        t = np.where(shade > 0, middle, np.inf)
    t = np.where((middle > 0), t, np.inf)
    lit = colour * (shade * (1 - shine))[..., None] + 255 * shine[..., None]
    return np.where(extra[..., None], growth, lit), t


def picture(world, look, kinds, height, width):
    """(image float [H, W, 3], depth [H, W]) of one world: dict of its rows of the kernel's inputs."""
    pitch = look[k.FOV_TANGENT] / width
    angle = float(world["heading"])
    forward, rightward = np.array([np.cos(angle), np.sin(angle)]), np.array([np.sin(angle), -np.cos(angle)])
    side = (2 * (np.arange(width) + 0.5) / width - 1) * look[k.FOV_TANGENT]
    ray = forward + side[:, None] * rightward
    m = np.repeat(((2 * np.arange(height) + 1 - height) * pitch)[:, None], width, 1)
    dx, dy = (np.repeat(ray[None, :, a], height, 0) for a in (0, 1))
    eye, tall = look[k.EYE_HEIGHT], look[k.WALL_HEIGHT]
    ceiling = int(look[k.CEILING_TEXTURE])
    layers = [plane(world, look, m, dx, dy, pitch, eye, int(look[k.FLOOR_TEXTURE]))]
    if ceiling:
        layers.append((np.zeros((height, width, 3)), np.full((height, width), FAR)))
        layers.append(plane(world, look, m, dx, dy, pitch, eye - tall, ceiling))
    else:
        layers.append((sky(m, dx, dy), np.where(m <= 0, FAR, np.inf)))
    for axis, i, j in np.argwhere(world["walls"]):
        layers.append(wall(world, look, pitch, m, dx, dy, axis, i, j, world["walls"][axis, i, j]))
    for place, kind in zip(world["item_position"], world["item_kind"], strict=True):
        if kind:
            layers.append(item(world, look, kinds[kind], place, m, dx, dy))
    colours, depths = (np.stack(x) for x in zip(*layers, strict=True))
    nearest = depths.argmin(0)[None]
    image = np.take_along_axis(colours, nearest[..., None], 0)[0]
    return image, np.minimum(np.take_along_axis(depths, nearest, 0)[0], FAR)
