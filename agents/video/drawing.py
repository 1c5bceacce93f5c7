"""Drawing of shapes and text on images: sizes, colours, boxes, bars, curves."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]

WIDTH, HEIGHT = 960, 540
GROUND, PANEL, LINE = (15, 16, 20), (25, 27, 33), (52, 55, 64)
INK, DIM = (232, 234, 239), (139, 144, 156)
CHERRY, GOLD, STEEL = (226, 74, 94), (234, 181, 92), (110, 168, 216)

CODES = 10  # an image whose values are not much larger holds codes, not colours


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which is distributed with Matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


def as_rgb(image: Pixels) -> Pixels:
    """Convert an image [H, W, C] to RGB.

    Of a stack of frames the newest, which is the last, is shown: three channels if C is a multiple of 3, otherwise one
    grey channel, repeated three times. Categorical codes (MiniGrid's are 0 to 10) are scaled to be visible, always by
    the same factor so that the video does not flicker.
    """
    newest = image[..., -3:] if image.shape[-1] % 3 == 0 else np.repeat(image[..., -1:], 3, axis=-1)
    largest = max(CODES, int(image.max(initial=0)))
    return newest * np.uint8(255 // largest) if largest < 2 * CODES else newest


def enlarge(image: Pixels, box: Box) -> Image.Image:
    """Enlarge an image to fit a box: by a whole factor first, so that pixels stay sharp, then smoothly to size."""
    h, w = image.shape[:2]
    scale = min((box[2] - box[0]) / w, (box[3] - box[1]) / h)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    picture = Image.fromarray(np.ascontiguousarray(image))
    if scale > 1:
        whole = math.ceil(scale)
        picture = picture.resize((w * whole, h * whole), Image.Resampling.NEAREST)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BOX)


def paste(canvas: Image.Image, picture: Image.Image, box: Box) -> None:
    """Paste an image in the centre of ``box``."""
    x = (box[0] + box[2] - picture.width) // 2
    y = (box[1] + box[3] - picture.height) // 2
    canvas.paste(picture, (x, y))


def draw_label(draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], align: str = "left") -> None:
    """Draw small letters on a dark ground, beginning or ending at ``at``."""
    letters = font(12)
    width = int(letters.getlength(text)) + 12
    x = at[0] - width if align == "right" else at[0]
    draw.rounded_rectangle((x, at[1], x + width, at[1] + 20), 5, GROUND)
    draw.text((x + 6, at[1] + 10), text, INK, letters, "lm")


def draw_bars(draw: ImageDraw.ImageDraw, vector: NDArray[np.float32], box: Box) -> None:
    """Draw a bar for each of the first 64 entries of a vector, about a middle line."""
    shown = np.nan_to_num(vector.reshape(-1)[:64], posinf=0, neginf=0)
    if not len(shown):
        return
    middle, half = (box[1] + box[3]) / 2, (box[3] - box[1]) / 2
    pitch = (box[2] - box[0]) / len(shown)
    top = max(1e-9, float(np.abs(shown).max()))
    for n, x in enumerate(shown.tolist()):
        y = middle - half * x / top
        left = box[0] + pitch * n
        draw.rectangle((left, min(y, middle), left + max(1.0, pitch - 3), max(y, middle)), STEEL)


def draw_curve(
    canvas: Image.Image,
    values: NDArray[np.float64],
    box: Box,
    low: float,
    high: float,
    colour: Colour,
    pitch: float = 2,
) -> None:
    """Draw a line through ``values``, which are not all NaN, ``pitch`` pixels per step, smoothed by drawing it three
    times as large.
    """
    scale, (x0, y0, x1, y1) = 3, box
    big = Image.new("L", ((x1 - x0) * scale, (y1 - y0) * scale), 0)
    draw = ImageDraw.Draw(big)
    height = (y1 - y0 - 4) * scale
    step, unit = pitch * scale, height / (high - low)
    points = [(n * step, 2 * scale + unit * (high - v)) for n, v in enumerate(values) if v == v]
    if len(points) > 1:
        draw.line(points, 255, 2 * scale, "curve")
    x, y = points[-1]
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), 255)
    mask = big.resize((x1 - x0, y1 - y0), Image.Resampling.BOX)
    canvas.paste(colour, (x0, y0), mask)


def sign_colour(reward: float) -> Colour:
    """Return gold for a positive value, steel for a negative one."""
    return GOLD if reward > 0 else STEEL


def inner(box: Box, margin: int) -> Box:
    """Return a box reduced by a margin on every side."""
    return box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin


def union(a: Box, b: Box) -> Box:
    """Return the smallest box around two, where ``a`` is above and to the left."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def as_text(x: float) -> str:
    """Format whole numbers unchanged, others with two decimals."""
    if not math.isfinite(x):
        return str(x)
    return f"{x:,.0f}" if x == round(x) or abs(x) >= 1000 else f"{x:.2f}"
