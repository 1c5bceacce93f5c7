"""A strip below a video of the agent: rewards and values of all streams over the latest steps of the episode."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..model import EXTRINSIC
from .drawing import CHERRY, DIM, GOLD, GROUND, INK, LINE, PANEL, STEEL, Box, Colour, Pixels, draw_curve, font
from .frame import TRACE_STEPS, Moment

Floats = NDArray[np.float64]

ROW, GAP, LEFT, RIGHT = 78, 8, 20, 940
"""Height of a row with the gap below it, the gap, and the left and right edges, in pixels."""


class Trace(NamedTuple):
    """The latest rewards and values of one stream."""

    name: str
    rewards: deque[float]
    values: deque[float]


class StripChart:
    """Draws one row for the environment's reward and one for each intrinsic stream in ``names``, below a frame. Without
    ``extrinsic`` nobody has learnt the environment's value, and it is not shown.
    """

    def __init__(self, names: Sequence[str], *, extrinsic: bool = True) -> None:
        self.extrinsic = extrinsic
        self.traces = [Trace(n, deque(maxlen=TRACE_STEPS), deque(maxlen=TRACE_STEPS)) for n in (EXTRINSIC, *names)]

    @property
    def height(self) -> int:
        """Return the height of the strip, an even number of pixels."""
        return ROW * len(self.traces) + 12

    def draw(self, frame: Pixels, moment: Moment) -> Pixels:
        """Add the strip: uint8 [H, W, 3] -> [H + height, W, 3]."""
        value = math.nan if moment.value is None or not self.extrinsic else moment.value
        streams = {EXTRINSIC: (moment.reward, value)} | moment.streams
        canvas = Image.new("RGB", (frame.shape[1], self.height), GROUND)
        pen = ImageDraw.Draw(canvas)
        for n, trace in enumerate(self.traces):
            if moment.step == 0:
                trace.rewards.clear()
                trace.values.clear()
            reward, value = streams.get(trace.name, (math.nan, math.nan))
            trace.rewards.append(reward)
            trace.values.append(value)
            box = LEFT, ROW * n, RIGHT, ROW * (n + 1) - GAP
            pen.rounded_rectangle(box, 8, PANEL)
            _draw_trace(canvas, pen, trace, box)
        return np.concatenate([frame, np.asarray(canvas)])


def _draw_trace(canvas: Image.Image, pen: ImageDraw.ImageDraw, trace: Trace, box: Box) -> None:
    """Draw the rewards as bars and the values as a line, each to its own scale, with the latest of both in figures."""
    left, top, right, bottom = box[0] + 12, box[1] + 22, box[2] - 12, box[3] - 6
    pitch = (right - left) / TRACE_STEPS
    colour = GOLD if trace.name == EXTRINSIC else STEEL
    name = "reward of the environment" if trace.name == EXTRINSIC else f"{trace.name.replace('_', ' ')}, normalised"
    pen.text((left, box[1] + 12), name, INK, font(13, bold=True), "lm")
    rewards, values = (np.array(x, dtype=float) for x in (trace.rewards, trace.values))
    edge = _label(pen, right, box[1] + 12, "reward", rewards, colour)
    if np.isfinite(values).any():
        _label(pen, edge - 18, box[1] + 12, "value", values, CHERRY)
    _bars(pen, rewards, (left, top, right, bottom), pitch, colour)
    if np.isfinite(values).any():
        values[~np.isfinite(values)] = math.nan
        low, high = min(0.0, float(np.nanmin(values))), max(0.0, float(np.nanmax(values)))
        draw_curve(canvas, values, (left, top, right, bottom), low, high if high > low else low + 1, CHERRY, pitch)


def _bars(pen: ImageDraw.ImageDraw, rewards: Floats, box: Box, pitch: float, colour: Colour) -> None:
    """Draw a bar for each reward, up or down from the line of 0."""
    left, top, right, bottom = box
    shown = np.nan_to_num(rewards, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = min(0.0, float(shown.min())), max(0.0, float(shown.max()))
    scale = (bottom - top) / max(1e-9, high - low)
    zero = bottom + low * scale if high > low else bottom
    pen.line((left, zero, right, zero), LINE)
    for n, reward in enumerate(shown.tolist()):
        if reward:
            x, y = left + pitch * n, zero - reward * scale
            pen.rectangle((x, min(y, zero), x + max(1.0, pitch - 2), max(y, zero)), colour)


def _label(pen: ImageDraw.ImageDraw, right: int, y: int, name: str, values: Floats, colour: Colour) -> int:
    """Draw a name, the latest value and the largest one shown, ending at ``right``; return where they begin."""
    most = f"{np.abs(np.where(np.isfinite(values), values, 0.0)).max():.2g}"
    for text, ink, small in ((f"up to {most}", DIM, True), (f"{name} {values[-1]:.2g}  ", colour, False)):
        letters = font(11 if small else 12)
        pen.text((right, y), text, ink, letters, "rm")
        right -= math.ceil(letters.getlength(text))
    return right
