"""Figure of ``morello bench learning``: training return over steps and over seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..picture import panels, save
from .curve import Curve, median_curve

COLOURS = ("#c2334d", "#4e79a7")
AXES = {"step": "agent steps (thousands)", "seconds": "seconds"}
UNITS = {"step": 1e3, "seconds": 1.0}


def draw(curves: Mapping[str, Sequence[Curve]], goals: Sequence[float], title: str, path: Path) -> None:
    """Draw a thin line for each seed and a thick one for the median of each named agent; dotted lines are the returns
    to reach.
    """
    figure, both = panels(2, width=11)
    for axes, (along, label) in zip(both, AXES.items(), strict=True):
        for (name, its), colour in zip(curves.items(), COLOURS, strict=False):
            for curve in its:
                axes.plot(getattr(curve, along) / UNITS[along], curve.mean, color=colour, linewidth=0.8, alpha=0.45)
            x, median = median_curve(its, along)
            axes.plot(x / UNITS[along], median, color=colour, linewidth=2.4, label=name)
        for goal in goals:
            axes.axhline(goal, color="#999999", linewidth=0.8, linestyle=":")
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
    both[0].set(ylabel="training return", title=title)
    both[0].legend(frameon=False, loc="upper left")
    save(figure, path)
