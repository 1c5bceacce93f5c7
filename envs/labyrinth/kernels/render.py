"""First-person images of B worlds: one Warp thread per environment and image column.

The camera is ``EYE_HEIGHT`` above the floor and looks along ``(cos heading, sin heading)`` without pitch. The
ray of column c is ``forward + (2 (c + 0.5) / W - 1) * FOV_TANGENT * right``, so a hit at ``t * ray`` has depth t;
pixels are square, and row r sees a point at depth t that lies ``t * (2 r + 1 - H) * FOV_TANGENT / W`` below the eye.
A column traverses the grid once up to its wall (a digital differential analyser over the cells' edges), and then fills
three spans of rows without branches: ceiling or sky, wall, floor. Items are drawn last, from far to near.

Floor, wall and ceiling read one texel per pixel, from the mip level whose texels are about one pixel wide.
"""

from __future__ import annotations

import warp as wp

from .pixels import Bytes, Floats, first_row
from .shapes import APPLE, GEM, LEMON, VEST, WIDEST, draw_flat, draw_fruit, draw_gem, reach
from .sky import fill_sky
from .surfaces import TEXTURE_PIXELS, cast_ray, fill_plane, fill_wall

CELL, WALL_HEIGHT, EYE_HEIGHT, FLOOR_TEXTURE, CEILING_TEXTURE, FOV_TANGENT, TEXTURE_SIZE = map(wp.constant, range(7))
"""Columns of ``look``, which has one row per task: map units, indices into TEXTURES (ceiling 0: sky), tangent of half
the field of view, and the map units that one texture spans."""

SHAPE, RADIUS, CENTRE_HEIGHT, RED, GREEN, BLUE = map(wp.constant, range(6))
"""Columns of ``kinds``, which has one row per kind of item: shapes.SHAPES, map units, map units above the floor,
0..255."""

FAR = wp.constant(20000.0)
"""Depth of the sky in map units; nothing is drawn beyond it."""

wp.set_module_options({"enable_backward": False})


def look_row(
    cell: float,
    wall_height: float,
    eye_height: float,
    floor_texture: int,
    ceiling_texture: int,
    fov_tangent: float = 1.0,
    texture_size: float | None = None,
) -> list[float]:
    """Return one task's row of ``look``. ``texture_size`` None: the fewest whole cells that span 64 map units."""
    size = texture_size or -(-64.0 // cell) * cell
    return [cell, wall_height, eye_height, float(floor_texture), float(ceiling_texture), fov_tangent, size]


@wp.func
def farthest(
    places: wp.array2d(dtype=wp.float32),
    present: wp.array(dtype=wp.uint8),
    kinds: wp.array2d(dtype=wp.float32),
    x: float,
    y: float,
    dx: float,
    dy: float,
    length: float,
    widest: float,
    wall: float,
    before_t: float,
    before: int,
):
    """Count the items in the column's plane that are nearer than item ``before`` at depth ``before_t`` and the wall.

    Also return the farthest of them: its slot, and its ``t`` and ``u`` (see shapes.py). No item is wider than
    ``widest``.
    """
    count = int(0)
    slot = int(0)
    depth = float(0.0)
    side = float(0.0)
    ahead = wp.vec2(dx, dy) / (length * length)
    right = wp.vec2(dy, -dx) / length
    i = int(0)
    while i < present.shape[0]:
        kind = int(present[i & 0xFFFF])
        if kind > 0:
            place = wp.vec2(places[i & 0xFFFF, 0] - x, places[i & 0xFFFF, 1] - y)
            across = wp.dot(place, right)
            if wp.abs(across) < widest and wp.dot(place, ahead) > 0.0:
                radius = kinds[kind, RADIUS]
                extent = radius * reach(int(kinds[kind, SHAPE]))
                t = wp.dot(place, ahead)
                visible = wp.abs(across) < extent and wp.length_sq(place) > extent * extent
                visible = visible and (t - wall) * length < extent
                if visible and (t < before_t or (t == before_t and i > before)):
                    count += 1
                    if t > depth:
                        slot = i
                        depth = t
                        side = -across / radius
        i += 1
    return count, slot, depth, side


@wp.func
def draw_items(
    frame: Bytes,
    depth: Floats,
    places: wp.array2d(dtype=wp.float32),
    present: wp.array(dtype=wp.uint8),
    kinds: wp.array2d(dtype=wp.float32),
    first: int,
    width: int,
    height: int,
    pitch: float,
    eye: float,
    wall: float,
    x: float,
    y: float,
    dx: float,
    dy: float,
):
    """Draw the items in a column, far to near, by the depths at which the ray passes their centres.

    That order is correct for items that do not overlap on the map. A column with at most one item needs one search.
    """
    length = wp.sqrt(dx * dx + dy * dy)
    widest = float(0.0)
    for kind in range(kinds.shape[0]):
        widest = wp.max(widest, WIDEST * kinds[kind, RADIUS])
    remaining = int(1)
    slot = int(-1)
    t = float(FAR)
    u = float(0.0)
    while remaining > 0:
        remaining, slot, t, u = farthest(places, present, kinds, x, y, dx, dy, length, widest, wall, t, slot)
        if remaining > 0:
            kind = int(present[slot])
            shape = int(kinds[kind, SHAPE])
            radius = kinds[kind, RADIUS]
            centre = kinds[kind, CENTRE_HEIGHT]
            colour = wp.vec3(kinds[kind, RED], kinds[kind, GREEN], kinds[kind, BLUE])
            if shape == APPLE or shape == LEMON:
                draw_fruit(
                    frame, depth, first, width, height, pitch, length, eye, wall, t, u, shape, radius, centre, colour
                )
            elif shape == GEM:
                draw_gem(frame, depth, first, width, height, pitch, length, eye, wall, t, u, radius, centre, colour)
            elif shape >= VEST and t < wall:
                draw_flat(frame, depth, first, width, height, pitch, eye, t, u, shape, radius, centre, colour)
            remaining -= 1


@wp.kernel
def render(
    position: wp.array2d(dtype=wp.float32),
    heading: wp.array(dtype=wp.float32),
    walls: wp.array4d(dtype=wp.uint8),
    item_position: wp.array3d(dtype=wp.float32),
    item_kind: wp.array2d(dtype=wp.uint8),
    task: wp.array(dtype=wp.int64),
    look: wp.array2d(dtype=wp.float32),
    kinds: wp.array2d(dtype=wp.float32),
    textures: wp.array4d(dtype=wp.uint8),
    image: wp.array4d(dtype=wp.uint8),
):
    """Fill ``image`` [B, H, W, 3], contiguous; launch with dim (B, W). The other arrays: world.py, LOOK, KIND."""
    b, column = wp.tid()
    height = image.shape[1]
    width = image.shape[2]
    k = int(task[b])
    cell = look[k, CELL]
    eye = look[k, EYE_HEIGHT]
    above = look[k, WALL_HEIGHT] - eye
    pitch = look[k, FOV_TANGENT] / float(width)
    scale = float(TEXTURE_PIXELS) / look[k, TEXTURE_SIZE]
    count = textures.shape[0] / 4 * 3
    texel_bytes = textures.shape[0] * TEXTURE_PIXELS * TEXTURE_PIXELS * 3
    texels = wp.array(ptr=textures.ptr, shape=(texel_bytes,), dtype=wp.uint8)
    size = height * width * 3
    frame = wp.array(ptr=image.ptr + wp.uint64(b) * wp.uint64(size), shape=(size,), dtype=wp.uint8)
    no_depth = wp.array(ptr=wp.uint64(0), shape=(0,), dtype=wp.float32)
    x = position[b, 0]
    y = position[b, 1]
    side = float(2 * column + 1 - width) * pitch
    dx = wp.cos(heading[b]) + side * wp.sin(heading[b])
    dy = wp.sin(heading[b]) - side * wp.cos(heading[b])

    cells, texture, place, axis = cast_ray(walls[b], x / cell, y / cell, dx, dy)
    ceiling = int(look[k, CEILING_TEXTURE])
    floor = int(look[k, FLOOR_TEXTURE])
    t = wp.max(cells * cell, 0.1)
    top = first_row(-above / t, pitch, height)
    bottom = first_row(eye / t, pitch, height)
    if texture == 0:  # floor up to the horizon; a row on the horizon is sky, or black under a ceiling
        t = float(FAR)
        bottom = (height + 1) / 2
        top = height / 2
        if ceiling == 0:
            top = bottom
    if ceiling == 0:
        fill_sky(frame, column, width, height, top, pitch, dx, dy)
    else:
        fill_plane(frame, texels, count, ceiling, column, width, height, 0, top, -1, above, pitch, x, y, dx, dy, scale)
    slant = wp.abs(dx)
    if axis == 1:
        slant = wp.abs(dy)
    slant = slant / wp.sqrt(dx * dx + dy * dy)
    fill_wall(
        frame,
        texels,
        count,
        texture,
        column,
        width,
        height,
        top,
        bottom,
        t,
        eye,
        pitch,
        place * cell,
        slant,
        scale,
        axis,
    )
    fill_plane(frame, texels, count, floor, column, width, height, bottom, height, 1, eye, pitch, x, y, dx, dy, scale)
    draw_items(
        frame, no_depth, item_position[b], item_kind[b], kinds, column, width, height, pitch, eye, t, x, y, dx, dy
    )


@wp.kernel(module="unique", enable_backward=False)
def render_depth(
    position: wp.array2d(dtype=wp.float32),
    heading: wp.array(dtype=wp.float32),
    walls: wp.array4d(dtype=wp.uint8),
    item_position: wp.array3d(dtype=wp.float32),
    item_kind: wp.array2d(dtype=wp.uint8),
    task: wp.array(dtype=wp.int64),
    look: wp.array2d(dtype=wp.float32),
    kinds: wp.array2d(dtype=wp.float32),
    depth: wp.array3d(dtype=wp.float32),
):
    """Fill ``depth`` [B, H, W], contiguous: map units along the view direction, FAR in the sky; dim (B, W)."""
    b, column = wp.tid()
    height = depth.shape[1]
    width = depth.shape[2]
    k = int(task[b])
    cell = look[k, CELL]
    eye = look[k, EYE_HEIGHT]
    above = look[k, WALL_HEIGHT] - eye
    pitch = look[k, FOV_TANGENT] / float(width)
    size = height * width
    frame = wp.array(ptr=depth.ptr + wp.uint64(b) * wp.uint64(4 * size), shape=(size,), dtype=wp.float32)
    no_image = wp.array(ptr=wp.uint64(0), shape=(0,), dtype=wp.uint8)
    x = position[b, 0]
    y = position[b, 1]
    side = float(2 * column + 1 - width) * pitch
    dx = wp.cos(heading[b]) + side * wp.sin(heading[b])
    dy = wp.sin(heading[b]) - side * wp.cos(heading[b])

    cells, texture, _place, _axis = cast_ray(walls[b], x / cell, y / cell, dx, dy)
    t = wp.max(cells * cell, 0.1)
    if texture == 0:
        t = float(FAR)
    ceiling = int(look[k, CEILING_TEXTURE])
    row = int(0)
    while row < height:
        m = float(2 * row + 1 - height) * pitch
        z = float(t)
        if m * t >= eye:
            z = eye / m
        elif m * t < -above and ceiling > 0:
            z = -above / m
        elif m * t < -above:
            z = float(FAR)
        frame[row * width + column] = wp.min(z, FAR)
        row += 1
    draw_items(
        no_image, frame, item_position[b], item_kind[b], kinds, column, width, height, pitch, eye, t, x, y, dx, dy
    )
