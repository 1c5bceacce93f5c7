"""One frame of a video of an agent at play: what it sees, where it is, what it expects and what it does.

Drawn with Pillow on a canvas whose still parts are drawn once. Sizes are pixels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

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

VIEW_SIZE, MAP_SIZE = 460, 200  # the largest picture that fits
VIEW: Box = (20, 52, 488, 520)
MAP: Box = (508, 52, 724, 268)
FACTS: Box = (740, 52, 940, 268)
ACTIONS: Box = (508, 284, 940, 408)
TRACES: Box = (508, 424, 940, 520)
INSET, SEEN = 112, 178  # what the agent sees, in a corner of the view or in the map's place
CODES = 10  # an image without larger numbers than about these is one of codes, not of light
TRACE_STEPS = 208  # as many as are seen at once, two pixels each


class Moment(NamedTuple):
    """What there is to see at one step; None for what there is not."""

    step: int  # of the episode
    episode: int
    reward: float
    episode_return: float
    last: bool
    image: Pixels | None = None  # [H, W, C] what the agent sees
    view: Pixels | None = None  # [H, W, 3] the same at a higher resolution, or as people are shown it
    map: Pixels | None = None  # [H, W, 3] from above
    vector: NDArray[np.float32] | None = None  # [V]
    value: float | None = None  # of the extrinsic reward
    probabilities: NDArray[np.float32] | None = None  # [A]
    action: int | None = None  # taken here


class Picture:
    """Draws `Moment`s in turn. ``title`` and ``note`` stand at the top; traces scroll and are cut between
    episodes.
    """

    size = (WIDTH, HEIGHT)

    def __init__(self, action_names: Sequence[str], title: str = "", note: str = "", steps: int | None = None) -> None:
        self.actions, self.steps = [name.replace("_", " ") for name in action_names], steps
        self.values: deque[float] = deque(maxlen=TRACE_STEPS)
        self.rewards: deque[float] = deque(maxlen=TRACE_STEPS)
        self._base: dict[bool, Image.Image] = {}
        self._title, self._note = title, note

    def draw(self, moment: Moment) -> Pixels:
        """uint8 [540, 960, 3]."""
        if moment.step == 0:
            self.values.clear()
            self.rewards.clear()
        self.values.append(math.nan if moment.value is None else moment.value)
        self.rewards.append(moment.reward)
        beside = moment.map is not None or (moment.view is not None and _shows(moment))
        if beside not in self._base:
            self._base[beside] = self._still(beside)
        canvas = self._base[beside].copy()
        draw = ImageDraw.Draw(canvas)
        self._view(canvas, draw, moment)
        self._beside(canvas, draw, moment)
        self._facts(draw, moment, FACTS if beside else _join(MAP, FACTS))
        self._probabilities(draw, moment)
        self._traces(canvas, draw)
        return np.asarray(canvas)

    def _still(self, beside: bool) -> Image.Image:
        """What does not change; ``beside``: something stands where the map does."""
        canvas = Image.new("RGB", self.size, GROUND)
        draw = ImageDraw.Draw(canvas)
        boxes = [VIEW, ACTIONS, TRACES, *([MAP, FACTS] if beside else [_join(MAP, FACTS)])]
        for box in boxes:
            draw.rounded_rectangle(box, 8, PANEL)
        draw.text((20, 27), "morello", CHERRY, font(20, bold=True), "lm")
        draw.text((114, 28), self._title, INK, font(16), "lm")
        draw.text((940, 28), self._note, DIM, font(14), "rm")
        return canvas

    def _view(self, canvas: Image.Image, draw: ImageDraw.ImageDraw, m: Moment) -> None:
        """The picture for people or, without one, what the agent sees."""
        box = inner(VIEW, 4)
        if m.view is not None:
            _paste(canvas, _enlarge(m.view, box), box)
        elif m.image is not None:
            h, w = m.image.shape[:2]
            _paste(canvas, _enlarge(_rgb(m.image), box), box)
            _label(draw, f"what the agent sees, {w} x {h}", (box[0] + 8, box[3] - 28))
        elif m.vector is not None:
            _bars(draw, m.vector, inner(VIEW, 24))
            _label(draw, "observation", (VIEW[0] + 10, VIEW[3] - 30))

    def _beside(self, canvas: Image.Image, draw: ImageDraw.ImageDraw, m: Moment) -> None:
        """The map; and beside a picture for people what the agent has to make do with: in the map's place or, if that
        is taken, in a corner of the picture.
        """
        if m.map is not None:
            _paste(canvas, _enlarge(m.map, inner(MAP, 8)), inner(MAP, 8))
        if m.view is None or not _shows(m):
            return
        if m.map is None:
            seen, text = _seen(m, SEEN)
            _paste(canvas, seen, (MAP[0], MAP[1] + 10, MAP[2], MAP[1] + 10 + SEEN))
            draw.text(((MAP[0] + MAP[2]) // 2, MAP[3] - 15), text, DIM, font(13), "mm")
            return
        (seen, text), corner = _seen(m, INSET), (VIEW[2] - 12, VIEW[3] - 12)
        x, y = corner[0] - seen.width, corner[1] - seen.height
        draw.rectangle((x - 2, y - 2, x + seen.width + 1, y + seen.height + 1), GROUND)
        canvas.paste(seen, (x, y))
        _label(draw, text, (corner[0], y - 28), "right")

    def _facts(self, draw: ImageDraw.ImageDraw, m: Moment, box: Box) -> None:
        x, y = box[0] + 18, box[1]
        draw.text((x, y + 26), "return", DIM, font(14), "lm")
        draw.text((x, y + 58), _number(m.episode_return), INK, font(38, bold=True), "lm")
        rows = [
            ("step", f"{m.step:,}" + (f" / {self.steps:,}" if self.steps else "")),
            ("episode", str(m.episode + 1)),
        ]
        rows.append(("reward", _number(m.reward)))
        if m.value is not None:
            rows.append(("value", _number(m.value)))
        for n, (name, text) in enumerate(rows):
            row = y + 104 + 25 * n
            paid = name == "reward" and m.reward != 0
            draw.text((x, row), name, DIM, font(14), "lm")
            draw.text((box[2] - 18, row), text, _sign_colour(m.reward) if paid else INK, font(16, bold=paid), "rm")
        if m.last:
            draw.text((box[2] - 18, y + 26), "episode over", CHERRY, font(14, bold=True), "rm")

    def _probabilities(self, draw: ImageDraw.ImageDraw, m: Moment) -> None:
        """The actions in two columns, each with the probability it has, and the one taken in colour."""
        shown = list(range(len(self.actions)))
        if len(shown) > 18 and m.probabilities is not None:
            shown = sorted(np.argsort(-m.probabilities)[:18].tolist())
        shown = shown[:18]
        rows = max(5, math.ceil(len(shown) / 2))
        height, width = (ACTIONS[3] - ACTIONS[1] - 14) / rows, (ACTIONS[2] - ACTIONS[0]) // 2
        for n, a in enumerate(shown):
            x, y = ACTIONS[0] + 16 + width * (n // rows), ACTIONS[1] + 7 + height * (n % rows + 0.5)
            taken = a == m.action
            ink = CHERRY if taken else DIM
            draw.text((x, y), self.actions[a][:20], ink, font(min(13, int(height) + 1), bold=taken), "lm")
            if m.probabilities is not None:
                left, room = x + 138, width - 138 - 26
                draw.rectangle((left, y - 3, left + room, y + 3), LINE)
                draw.rectangle(
                    (left, y - 3, left + room * float(m.probabilities[a]), y + 3), CHERRY if taken else STEEL
                )

    def _traces(self, canvas: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        x0, y0, x1, y1 = TRACES
        values = np.array(self.values)
        values[np.isinf(values)] = math.nan
        if np.isfinite(values).any():
            low, high = min(0.0, float(np.nanmin(values))), max(0.0, float(np.nanmax(values)))
            plot = (x0 + 8, y0 + 18, x1 - 4, y0 + 56)
            _curve(canvas, values, plot, low, high if high > low else low + 1, CHERRY)
            draw.text((x0 + 12, y0 + 11), "value", CHERRY, font(12), "lm")
            draw.text((x1 - 10, y0 + 11), f"{_number(low)} to {_number(high)}", DIM, font(11), "rm")
        middle = y1 - 18
        top = max(1e-9, *(abs(r) for r in self.rewards))
        draw.line((x0 + 8, middle, x1 - 8, middle), LINE)
        draw.text((x0 + 12, y1 - 36), "reward", GOLD, font(12), "lm")
        for n, reward in enumerate(self.rewards):
            if reward:
                x, y = x0 + 8 + 2 * n, middle - 11 * reward / top
                draw.rectangle((x, min(y, middle), x + 1, max(y, middle)), _sign_colour(reward))


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which Matplotlib brings along."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


def _shows(m: Moment) -> bool:
    return m.image is not None or m.vector is not None


def _seen(m: Moment, size: int) -> tuple[Image.Image, str]:
    """What the agent sees, at most ``size`` wide and high, and that in words."""
    if m.image is not None:
        h, w = m.image.shape[:2]
        return _enlarge(_rgb(m.image), (0, 0, size, size)), f"the agent sees {w} x {h}"
    assert m.vector is not None
    picture = Image.new("RGB", (size, size), PANEL)
    _bars(ImageDraw.Draw(picture), m.vector, inner((0, 0, size, size), 6))
    return picture, f"the agent sees {m.vector.size} numbers"


def _rgb(image: Pixels) -> Pixels:
    """[H, W, C] as RGB, which the newest of a stack of frames, its last, is where C is a multiple of 3; grey, and the
    newest of a stack of grey frames, become three equal channels. Codes (MiniGrid's are 0 to 10) are made visible,
    always alike, lest the film flicker.
    """
    newest = image[..., -3:] if image.shape[-1] % 3 == 0 else np.repeat(image[..., -1:], 3, axis=-1)
    largest = max(CODES, int(image.max(initial=0)))
    return newest * np.uint8(255 // largest) if largest < 2 * CODES else newest


def _enlarge(image: Pixels, box: Box) -> Image.Image:
    """As large as fits: whole pixels first, so that they stay sharp, then smoothly to size."""
    h, w = image.shape[:2]
    scale = min((box[2] - box[0]) / w, (box[3] - box[1]) / h)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    picture = Image.fromarray(np.ascontiguousarray(image))
    if scale > 1:
        whole = math.ceil(scale)
        picture = picture.resize((w * whole, h * whole), Image.Resampling.NEAREST)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BOX)


def _paste(canvas: Image.Image, picture: Image.Image, box: Box) -> None:
    """In the middle of ``box``."""
    x = (box[0] + box[2] - picture.width) // 2
    y = (box[1] + box[3] - picture.height) // 2
    canvas.paste(picture, (x, y))


def _label(draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], align: str = "left") -> None:
    """Small letters on a dark ground, from or up to ``at``."""
    letters = font(12)
    width = int(letters.getlength(text)) + 12
    x = at[0] - width if align == "right" else at[0]
    draw.rounded_rectangle((x, at[1], x + width, at[1] + 20), 5, GROUND)
    draw.text((x + 6, at[1] + 10), text, INK, letters, "lm")


def _bars(draw: ImageDraw.ImageDraw, vector: NDArray[np.float32], box: Box) -> None:
    """A bar for each entry of a vector, about its middle line; the first 64."""
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


def _curve(canvas: Image.Image, values: NDArray[np.float64], box: Box, low: float, high: float, colour: Colour) -> None:
    """A line through ``values``, two pixels a step, smoothed by drawing it three times as large."""
    scale, (x0, y0, x1, y1) = 3, box
    big = Image.new("L", ((x1 - x0) * scale, (y1 - y0) * scale), 0)
    draw = ImageDraw.Draw(big)
    height = (y1 - y0 - 4) * scale
    points = [(2 * n * scale, 2 * scale + height * (high - v) / (high - low)) for n, v in enumerate(values) if v == v]
    if len(points) > 1:
        draw.line(points, 255, 2 * scale, "curve")
    x, y = points[-1]
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), 255)
    mask = big.resize((x1 - x0, y1 - y0), Image.Resampling.BOX)
    canvas.paste(colour, (x0, y0), mask)


def _sign_colour(reward: float) -> Colour:
    return GOLD if reward > 0 else STEEL


def inner(box: Box, margin: int) -> Box:
    """A box within."""
    return box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin


def _join(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _number(x: float) -> str:
    """Whole numbers as they are, others with two decimals."""
    if not math.isfinite(x):
        return str(x)
    return f"{x:,.0f}" if x == round(x) or abs(x) >= 1000 else f"{x:.2f}"
