"""Figure of ``morello bench tv``: a panel for each reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..picture import save
from .measure import Levels

STYLES = {"fresh": "-", "remote": (0, (4, 1.5))}
"""Lines by television."""
PLACES = {"watching": "#c2334d", "elsewhere": "#4e79a7"}
"""Colours by place."""
LABELS = {
    ("fresh", "watching"): "before fresh noise",
    ("fresh", "elsewhere"): "elsewhere",
    ("remote", "watching"): "switching noise by the remote",
    ("remote", "elsewhere"): "elsewhere",
}
COLUMNS = 6


def draw(curves: Mapping[str, Mapping[str, Sequence[Levels]]], steps: Sequence[float], path: Path) -> None:
    """Draw the rewards of each signal by television, ``curves[signal][television]``, over thousand ``steps``: on a
    logarithmic scale where all are positive.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(curves) // COLUMNS)
    figure = Figure(figsize=(2.5 * COLUMNS, 1.9 * rows + 0.6), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(rows, COLUMNS, squeeze=False, sharex=True).flat)
    for axes, (name, found) in zip(grid, curves.items(), strict=False):
        lowest = math.inf
        for television, style in STYLES.items():
            for place, colour in PLACES.items():
                values = [getattr(row, place) for row in found[television]]
                lowest = min(lowest, *(x for x in values if not math.isnan(x)), math.inf)
                label = LABELS[television, place]
                axes.plot(steps, values, color=colour, linestyle=style, linewidth=1.3, label=label)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        if 0 < lowest < math.inf:
            axes.set_yscale("log")
            axes.minorticks_off()
    for axes in grid[len(curves) :]:
        axes.axis("off")
    for axes in grid[-COLUMNS:]:
        axes.set_xlabel("thousand steps", fontsize=8)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    save(figure, path)
