"""A column of auxiliary losses next to a video of the agent: heat maps at every step, curves of training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ...auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss
from ...backbones import Features
from ..agent import Agent
from ..storage import checkpoint
from ..storage.metrics import METRICS, read_records
from .drawing import CHERRY, DIM, GROUND, HEIGHT, INK, LINE, PANEL, Box, Pixels, font, inner
from .restored import restored, settings_of

WIDTH = 232
BOXES: tuple[Box, Box] = ((4, 52, 212, 278), (4, 294, 212, 520))
"""Places for two panels; only the first two are shown."""


class Curve(NamedTuple):
    """A loss's accuracy by horizon in the last record of a run, and the accuracy of guessing."""

    title: str
    values: NDArray[np.float64]  # [K]
    chance: float


class SidePanel:
    """Draws the heat maps of ``losses`` by name, all of which have one, and ``curves``, to the right of a frame."""

    def __init__(self, losses: Mapping[str, AuxiliaryLoss], curves: list[Curve]) -> None:
        self.losses, self.curves = losses, curves
        self.brightest = dict.fromkeys(losses, 1e-9)  # so far: the scale only grows during a video

    def draw(self, frame: Pixels, features: Features) -> Pixels:
        """Add the column to a frame: uint8 [H, W, 3], features of this step (T = B = 1) -> uint8 [H, W + 232, 3]."""
        canvas = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
        pen = ImageDraw.Draw(canvas)
        for box, (name, loss) in zip(BOXES, self.losses.items(), strict=False):
            pen.rounded_rectangle(box, 8, PANEL)
            self._heat(canvas, pen, box, name, loss.heat(features))
        for box, curve in zip(BOXES[len(self.losses) :], self.curves, strict=False):
            pen.rounded_rectangle(box, 8, PANEL)
            _curve(pen, box, curve)
        return np.concatenate([frame, np.asarray(canvas)], axis=1)

    def _heat(self, canvas: Image.Image, pen: ImageDraw.ImageDraw, box: Box, name: str, heat: Tensor) -> None:
        values = heat.float().cpu().numpy()  # a head may return bfloat16
        low, high = float(values.min()), float(values.max())
        self.brightest[name] = max(self.brightest[name], high)
        pixels = matplotlib.colormaps["inferno"](values.clip(0) / self.brightest[name], bytes=True)[..., :3]
        left, top, right, bottom = inner(box, 12)
        h, w = values.shape
        scale = min((right - left) / w, (bottom - top - 22) / h)
        picture = Image.fromarray(pixels).resize((round(w * scale), round(h * scale)), Image.Resampling.NEAREST)
        canvas.paste(picture, ((left + right - picture.width) // 2, top + 22))
        pen.text((left, top + 4), name.replace("_", " "), INK, font(13), "lm")
        pen.text((right, top + 4), f"{low:.2f} to {high:.2f}", DIM, font(11), "rm")


def _curve(pen: ImageDraw.ImageDraw, box: Box, curve: Curve) -> None:
    """Draw bars, and a line at the accuracy of guessing."""
    left, top, right, bottom = inner(box, 12)
    pen.text((left, top + 4), curve.title, INK, font(13), "lm")
    base, ceiling = bottom - 16, top + 24
    pitch, most = (right - left) / len(curve.values), max(2 * curve.chance, float(curve.values.max()), 1e-3)
    for n, value in enumerate(curve.values.tolist()):
        x = left + pitch * n
        pen.rectangle((x, base - value / most * (base - ceiling), x + max(1.0, pitch - 2), base), CHERRY)
    guess = base - curve.chance / most * (base - ceiling)
    pen.line((left, guess, right, guess), INK)
    pen.line((left, ceiling, right, ceiling), LINE)
    pen.text((right, top + 4), f"up to {most:.1%}", DIM, font(11), "rm")
    pen.text((left, bottom - 5), "1", DIM, font(11), "lm")
    pen.text((right, bottom - 5), f"{len(curve.values)} steps ahead", DIM, font(11), "rm")


def side_panel(agent: Agent, run: Path) -> SidePanel | None:
    """Build the column for the agent of a run folder, from the losses it was trained with that are registered here and
    have something to display. None if there are none.
    """
    trained, losses = settings_of(agent, "aux"), {}
    for name in trained:
        kind: Any = AUXILIARY_LOSSES[name]
        if kind.heat is not AuxiliaryLoss.heat:
            loss = restored("aux", name, agent, run)
            assert isinstance(loss, AuxiliaryLoss)
            losses[name] = loss
    curves = _curves(run / METRICS, list(trained))
    return SidePanel(losses, curves) if losses or curves else None


def _curves(metrics: Path, names: list[str]) -> list[Curve]:
    """Return the curves in the last complete record."""
    records = read_records(metrics, checkpoint.to_stderr)
    record = records[-1] if records else {}
    curves = []
    for name in names:
        points: list[float] = []
        while isinstance(value := record.get(f"{name}/accuracy_by_horizon/{len(points) + 1}"), int | float):
            points.append(float(value))
        chance = record.get(f"{name}/chance")
        guess = float(chance) if isinstance(chance, int | float) else 0.0
        if points:
            curves.append(Curve(f"{name} accuracy", np.array(points), guess))
    return curves
