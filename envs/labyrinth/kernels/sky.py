"""The open sky: a gradient, hills all around, and a landmark in each direction that shows the agent its heading."""

from __future__ import annotations

import warp as wp

from .pixels import Bytes, fill_rows, first_row, put

wp.set_module_options({"enable_backward": False})


@wp.func
def skyline(dx: float, dy: float):
    """Return the skyline towards the unit vector (dx, dy): (height as a tangent, its shade, which landmark).

    Rolling hills (0) all around, and one landmark in each quarter: a snowy peak in the east (1), a table mountain
    in the north (2), a dome in the west (3), twin spires in the south (4).
    """
    hills = 0.10 + 0.03 * (3.0 - 4.0 * dy * dy) * dy + 0.04 * dx * dy + 0.015 * dx
    height = float(0.0)
    which = int(0)
    side = float(0.0)
    if wp.abs(dx) > wp.abs(dy):
        side = dy / dx
        if dx > 0.0:
            which = 1
            height = 0.52 - 1.1 * wp.abs(side)
        else:
            which = 3
            height = 0.40 * wp.sqrt(wp.max(0.0, 1.0 - 9.0 * side * side))
    else:
        side = -dx / dy
        if dy > 0.0:
            which = 2
            height = wp.min(0.36, 1.6 - 4.5 * wp.abs(side))
        else:
            which = 4
            height = 0.50 - 5.0 * wp.abs(wp.abs(side) - 0.13)
    shade = 0.9 + 0.1 * wp.sign(side)
    if height <= hills:
        height = hills
        which = 0
        shade = 0.9 + 0.5 * dx * dy
    return height, shade, which


@wp.func
def fill_sky(frame: Bytes, first: int, width: int, height: int, end: int, pitch: float, dx: float, dy: float):
    """Draw open sky in the rows above ``end``, paler towards the horizon, and a skyline that turns with the heading."""
    length = wp.sqrt(dx * dx + dy * dy)
    far, shade, which = skyline(dx / length, dy / length)
    crest = wp.min(end, first_row(-far * length, pitch, height))
    zenith = wp.min(crest, first_row(-length, pitch, height))
    fill_rows(frame, first, width, 0, zenith, wp.vec3(72.0, 140.0, 218.0))
    rise = float(height - 1 - 2 * zenith) * pitch / length  # tangent of the first graded row's elevation
    fall = 2.0 * pitch / length
    red = int((198.0 - 126.0 * rise) * 65536.0)
    green = int((220.0 - 80.0 * rise) * 65536.0)
    blue = int((240.0 - 22.0 * rise) * 65536.0)
    row = int(zenith)
    pixel = first + zenith * width
    while row < crest:
        put(frame, pixel, red >> 16, green >> 16, blue >> 16)
        red += int(126.0 * fall * 65536.0)
        green += int(80.0 * fall * 65536.0)
        blue += int(22.0 * fall * 65536.0)
        row += 1
        pixel += width
    colour = wp.vec3(106.0, 140.0, 118.0)
    if which == 1:
        colour = wp.vec3(112.0, 116.0, 138.0)
        snow = wp.min(end, first_row(-(far - 0.16) * length, pitch, height))
        snow = wp.max(crest, wp.min(snow, first_row(-0.30 * length, pitch, height)))
        fill_rows(frame, first, width, crest, snow, wp.vec3(246.0, 248.0, 252.0) * shade)
        crest = snow
    elif which == 2:
        colour = wp.vec3(186.0, 104.0, 72.0)
    elif which == 3:
        colour = wp.vec3(84.0, 120.0, 190.0)
    elif which == 4:
        colour = wp.vec3(128.0, 88.0, 140.0)
    fill_rows(frame, first, width, crest, end, colour * shade)
