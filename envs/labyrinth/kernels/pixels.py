"""Writing one column of a frame inside kernels. Frames are flat arrays: uint8 RGB, or float32 depth.

An index is masked before use: the compiler can then infer that it is not negative and removes Warp's wrap-around for
negative indices, a quarter of a frame's time on a CPU. A frame may therefore have at most `MAX_PIXELS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import warp as wp

if TYPE_CHECKING:
    Bytes: TypeAlias = Any
    Floats: TypeAlias = Any
else:
    Bytes, Floats = wp.array(dtype=wp.uint8), wp.array(dtype=wp.float32)

MAX_PIXELS = 2**24

wp.set_module_options({"enable_backward": False})


@wp.func
def first_row(slope: float, pitch: float, height: int) -> int:
    """Return the first row whose slope ``(2 r + 1 - height) * pitch`` is at least ``slope``, in [0, height]."""
    return wp.clamp(int(wp.ceil((slope / pitch + float(height - 1)) * 0.5)), 0, height)


@wp.func
def put(frame: Bytes, pixel: int, red: int, green: int, blue: int):
    """Write one pixel."""
    at = (pixel & 0xFFFFFF) * 3
    frame[at] = wp.uint8(red)
    frame[at + 1] = wp.uint8(green)
    frame[at + 2] = wp.uint8(blue)


@wp.func
def put_texel(frame: Bytes, pixel: int, texels: Bytes, texel: int, f: int):
    """Write a texel times f / 256."""
    at = (texel & 0xFFFFFF) * 3
    put(frame, pixel, (int(texels[at]) * f) >> 8, (int(texels[at + 1]) * f) >> 8, (int(texels[at + 2]) * f) >> 8)


@wp.func
def put_lit(frame: Bytes, depth: Floats, pixel: int, t: float, colour: wp.vec3, shade: float, shine: float):
    """Write ``colour`` times ``shade``, shifted towards white by ``shine``; or write t, if ``depth`` is not empty."""
    if depth.shape[0] > 0:
        depth[pixel & 0xFFFFFF] = t
    else:
        c = colour * (shade * (1.0 - shine)) + wp.vec3(255.0 * shine, 255.0 * shine, 255.0 * shine)
        put(frame, pixel, int(c[0]), int(c[1]), int(c[2]))


@wp.func
def fill_rows(frame: Bytes, first: int, width: int, begin: int, end: int, colour: wp.vec3):
    """Fill rows begin..end with one colour."""
    red = int(colour[0])
    green = int(colour[1])
    blue = int(colour[2])
    row = int(begin)
    pixel = first + begin * width
    while row < end:
        put(frame, pixel, red, green, blue)
        row += 1
        pixel += width
