"""One frame of a video of an agent: its observations, position, value estimate and actions.

Drawn with Pillow on a canvas whose static parts are drawn once. Sizes are in pixels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .drawing import (
    CHERRY,
    DIM,
    GOLD,
    GROUND,
    HEIGHT,
    INK,
    LINE,
    PANEL,
    STEEL,
    WIDTH,
    Box,
    Pixels,
    as_rgb,
    as_text,
    draw_bars,
    draw_curve,
    draw_label,
    enlarge,
    font,
    inner,
    paste,
    sign_colour,
    union,
)

VIEW_SIZE, MAP_SIZE = 460, 200  # the largest picture that fits

VIEW: Box = (20, 52, 488, 520)

MAP: Box = (508, 52, 724, 268)

FACTS: Box = (740, 52, 940, 268)

ACTIONS: Box = (508, 284, 940, 408)

TRACES: Box = (508, 424, 940, 520)

INSET, SEEN = 112, 178  # the agent's observation, in a corner of the view or in the map's place

TRACE_STEPS = 208  # number visible at once, two pixels each


class Moment(NamedTuple):
    """The data displayed for one step; None marks data that does not exist."""

    step: int  # of the episode
    episode: int
    reward: float
    episode_return: float
    last: bool
    image: Pixels | None = None  # [H, W, C] the agent's observation
    view: Pixels | None = None  # [H, W, 3] the same at a higher resolution, or as people are shown it
    map: Pixels | None = None  # [H, W, 3] from above
    vector: NDArray[np.float32] | None = None  # [V]
    value: float | None = None  # of the extrinsic reward
    probabilities: NDArray[np.float32] | None = None  # [A]
    action: int | None = None  # taken here
    streams: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - intrinsic: reward of the step before, normalised; value


class Picture:
    """Draws successive `Moment`s. ``title`` and ``note`` are at the top; traces scroll and are cleared between
    episodes. Without ``traces`` the actions have their place.
    """

    size = (WIDTH, HEIGHT)

    def __init__(
        self,
        action_names: Sequence[str],
        title: str = "",
        note: str = "",
        steps: int | None = None,
        *,
        traces: bool = True,
    ) -> None:
        self.actions, self.steps = [name.replace("_", " ") for name in action_names], steps
        self.values: deque[float] = deque(maxlen=TRACE_STEPS)
        self.rewards: deque[float] = deque(maxlen=TRACE_STEPS)
        self._base: dict[bool, Image.Image] = {}
        self._title, self._note, self._has_traces = title, note, traces
        self._actions = ACTIONS if traces else union(ACTIONS, TRACES)

    def draw(self, moment: Moment) -> Pixels:
        """Draw one frame, uint8 [540, 960, 3]."""
        if moment.step == 0:
            self.values.clear()
            self.rewards.clear()
        self.values.append(math.nan if moment.value is None else moment.value)
        self.rewards.append(moment.reward)
        occupied = moment.map is not None or (moment.view is not None and _shows(moment))
        if occupied not in self._base:
            self._base[occupied] = self._still(occupied)
        canvas = self._base[occupied].copy()
        draw = ImageDraw.Draw(canvas)
        self._view(canvas, draw, moment)
        self._beside(canvas, draw, moment)
        self._facts(draw, moment, FACTS if occupied else union(MAP, FACTS))
        self._probabilities(draw, moment)
        if self._has_traces:
            self._traces(canvas, draw)
        return np.asarray(canvas)

    def _still(self, occupied: bool) -> Image.Image:
        """Draw the static parts; ``occupied``: the place of the map is occupied."""
        canvas = Image.new("RGB", self.size, GROUND)
        draw = ImageDraw.Draw(canvas)
        boxes = [VIEW, self._actions, *([MAP, FACTS] if occupied else [union(MAP, FACTS)])]
        boxes += [TRACES] if self._has_traces else []
        for box in boxes:
            draw.rounded_rectangle(box, 8, PANEL)
        draw.text((20, 27), "morello", CHERRY, font(20, bold=True), "lm")
        draw.text((114, 28), self._title, INK, font(16), "lm")
        draw.text((940, 28), self._note, DIM, font(14), "rm")
        return canvas

    def _view(self, canvas: Image.Image, draw: ImageDraw.ImageDraw, m: Moment) -> None:
        """Draw the view for people or, without one, the agent's observation."""
        box = inner(VIEW, 4)
        if m.view is not None:
            paste(canvas, enlarge(m.view, box), box)
        elif m.image is not None:
            h, w = m.image.shape[:2]
            paste(canvas, enlarge(as_rgb(m.image), box), box)
            draw_label(draw, f"what the agent sees, {w} x {h}", (box[0] + 8, box[3] - 28))
        elif m.vector is not None:
            draw_bars(draw, m.vector, inner(VIEW, 24))
            draw_label(draw, "observation", (VIEW[0] + 10, VIEW[3] - 30))

    def _beside(self, canvas: Image.Image, draw: ImageDraw.ImageDraw, m: Moment) -> None:
        """Draw the map and, if there is a view for people, also the agent's observation: in the map's place or, if
        there is a map, in a corner of the view.
        """
        if m.map is not None:
            paste(canvas, enlarge(m.map, inner(MAP, 8)), inner(MAP, 8))
        if m.view is None or not _shows(m):
            return
        if m.map is None:
            seen, text = _seen(m, SEEN)
            paste(canvas, seen, (MAP[0], MAP[1] + 10, MAP[2], MAP[1] + 10 + SEEN))
            draw.text(((MAP[0] + MAP[2]) // 2, MAP[3] - 15), text, DIM, font(13), "mm")
            return
        (seen, text), corner = _seen(m, INSET), (VIEW[2] - 12, VIEW[3] - 12)
        x, y = corner[0] - seen.width, corner[1] - seen.height
        draw.rectangle((x - 2, y - 2, x + seen.width + 1, y + seen.height + 1), GROUND)
        canvas.paste(seen, (x, y))
        draw_label(draw, text, (corner[0], y - 28), "right")

    def _facts(self, draw: ImageDraw.ImageDraw, m: Moment, box: Box) -> None:
        x, y = box[0] + 18, box[1]
        draw.text((x, y + 26), "return", DIM, font(14), "lm")
        draw.text((x, y + 58), as_text(m.episode_return), INK, font(38, bold=True), "lm")
        rows = [
            ("step", f"{m.step:,}" + (f" / {self.steps:,}" if self.steps else "")),
            ("episode", str(m.episode + 1)),
        ]
        rows.append(("reward", as_text(m.reward)))
        if m.value is not None:
            rows.append(("value", as_text(m.value)))
        for n, (name, text) in enumerate(rows):
            row = y + 104 + 25 * n
            paid = name == "reward" and m.reward != 0
            draw.text((x, row), name, DIM, font(14), "lm")
            draw.text((box[2] - 18, row), text, sign_colour(m.reward) if paid else INK, font(16, bold=paid), "rm")
        if m.last:
            draw.text((box[2] - 18, y + 26), "episode over", CHERRY, font(14, bold=True), "rm")

    def _probabilities(self, draw: ImageDraw.ImageDraw, m: Moment) -> None:
        """Draw the actions in two columns with their probabilities, the chosen one in colour."""
        shown = list(range(len(self.actions)))
        if len(shown) > 18 and m.probabilities is not None:
            shown = sorted(np.argsort(-m.probabilities)[:18].tolist())
        shown = shown[:18]
        rows = max(5, math.ceil(len(shown) / 2))
        box = self._actions
        height, width = min(40.0, (box[3] - box[1] - 14) / rows), (box[2] - box[0]) // 2
        for n, a in enumerate(shown):
            x, y = box[0] + 16 + width * (n // rows), box[1] + 7 + height * (n % rows + 0.5)
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
            draw_curve(canvas, values, plot, low, high if high > low else low + 1, CHERRY)
            draw.text((x0 + 12, y0 + 11), "value", CHERRY, font(12), "lm")
            draw.text((x1 - 10, y0 + 11), f"{as_text(low)} to {as_text(high)}", DIM, font(11), "rm")
        middle = y1 - 18
        top = max(1e-9, *(abs(r) for r in self.rewards))
        draw.line((x0 + 8, middle, x1 - 8, middle), LINE)
        draw.text((x0 + 12, y1 - 36), "reward", GOLD, font(12), "lm")
        for n, reward in enumerate(self.rewards):
            if reward:
                x, y = x0 + 8 + 2 * n, middle - 11 * reward / top
                draw.rectangle((x, min(y, middle), x + 1, max(y, middle)), sign_colour(reward))


def _shows(m: Moment) -> bool:
    return m.image is not None or m.vector is not None


def _seen(m: Moment, size: int) -> tuple[Image.Image, str]:
    """Return an image of the agent's observation, at most ``size`` wide and high, and its description."""
    if m.image is not None:
        h, w = m.image.shape[:2]
        return enlarge(as_rgb(m.image), (0, 0, size, size)), f"the agent sees {w} x {h}"
    assert m.vector is not None
    picture = Image.new("RGB", (size, size), PANEL)
    draw_bars(ImageDraw.Draw(picture), m.vector, inner((0, 0, size, size), 6))
    return picture, f"the agent sees {m.vector.size} numbers"
