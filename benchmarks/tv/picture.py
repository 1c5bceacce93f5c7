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
    ("fresh", "elsewhere"): "the same walks without",
    ("remote", "watching"): "making new noise by the remote",
    ("remote", "elsewhere"): "walking instead",
}
COLUMNS = 6
TICKS = (1, 1.5, 2, 3, 5, 7)
"""Digits at which a logarithmic scale is labelled."""


def draw(curves: Mapping[str, Mapping[str, Sequence[Levels]]], steps: Sequence[float], path: Path) -> None:
    """Draw the rewards of each signal by television, ``curves[signal][television]``, over thousand ``steps``: on a
    logarithmic scale where all are positive.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

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
            axes.yaxis.set_major_locator(LogLocator(subs=TICKS))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
    for axes in grid[len(curves) :]:
        axes.axis("off")
    for axes in grid[max(0, len(curves) - COLUMNS) : len(curves)]:  # the lowest of each column
        axes.set_xlabel("thousand steps", fontsize=8)
        axes.tick_params(labelbottom=True)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    save(figure, path)
