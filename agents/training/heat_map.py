"""Heat maps of exploration: visits of the cells of a map, and intrinsic rewards on arrival."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...envs.cell_map import CellMap
from ...envs.exploration import Heat

SIDE = 3.6
"""Longer side of a map, in inches."""
UNSEEN, WALL, INK = "#e8e9ee", "#2b2e38", "#2b2e38"
MARGIN = 0.25  # around a map, in cells


def heat_map(heat: Heat, plans: Sequence[CellMap], tasks: Sequence[str], note: str = "") -> bytes:
    """Draw a row of maps for each task, visits and then each intrinsic reward, and return them as a PNG. Visits are on
    a logarithmic scale; cells that nobody visited are grey; walls are drawn where they are the same in every episode.
    """
    visits = heat.visits.cpu().numpy()
    rewards = {name: mean.cpu().numpy() for name, mean in heat.reward.items()}
    boxes = [plan.within(_grid(visits[k], plan) > 0) for k, plan in enumerate(plans)]
    scale = SIDE / max(max(right - left, high - low) for left, right, low, high in boxes)
    heights = [(high - low) * scale for _, _, low, high in boxes]
    width = max(right - left for left, right, _, _ in boxes) * scale
    columns = 1 + len(rewards)
    size = (max(3.2, width + 1.1) * columns, sum(heights) + 0.55 * len(plans) + 0.4)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(plans), columns, squeeze=False, height_ratios=heights)
    for k, (plan, box) in enumerate(zip(plans, boxes, strict=True)):
        shown = _grid(visits[k], plan).astype(float)
        _draw(axes[k][0], plan, box, shown, LogNorm(1, max(2.0, shown.max(initial=0))), "viridis", "visits")
        for axis, (name, mean) in zip(axes[k][1:], rewards.items(), strict=True):
            values = _grid(mean[k], plan)
            label = f"{name.replace('_', ' ')}: mean on arrival since the last picture"
            _draw(axis, plan, box, values, _limits(values), "inferno", label)
    figure.suptitle(f"{', '.join(tasks) if len(tasks) == 1 else ''} {note}".strip(), color=INK, fontsize=10)
    if len(tasks) > 1:
        for k, task in enumerate(tasks):
            axes[k][0].set_ylabel(task, color=INK, fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _grid(values: NDArray[Any], plan: CellMap) -> NDArray[Any]:
    """Return the values of a task's own cells, of which another may have more, as [rows, columns]."""
    return values[: plan.rows * plan.columns].reshape(plan.rows, plan.columns)


def _limits(values: NDArray[Any]) -> Normalize:
    """Return a scale from 0, or the lowest reward if that is negative, to the highest."""
    there = values[np.isfinite(values)]
    low, high = min(0.0, float(there.min(initial=0))), float(there.max(initial=0))
    return Normalize(low, high if high > low else low + 1)


def _draw(
    axes: Axes,
    plan: CellMap,
    box: tuple[float, float, float, float],
    values: NDArray[Any],
    scale: Normalize,
    colours: str,
    title: str,
) -> None:
    left, right, low, high = box
    masked = np.ma.masked_invalid(np.where(values == 0, np.nan, values) if isinstance(scale, LogNorm) else values)
    palette = colormaps[colours].with_extremes(bad=UNSEEN)
    extent = (0, plan.columns, 0, plan.rows)
    image = axes.imshow(masked, palette, scale, origin="lower", extent=extent, interpolation="nearest")
    axes.add_collection(LineCollection(list(plan.walls), colors=WALL, linewidths=1.6, capstyle="round"))
    axes.set_xlim(left - MARGIN, right + MARGIN)
    axes.set_ylim((low - MARGIN, high + MARGIN) if plan.upwards else (high + MARGIN, low - MARGIN))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, color=INK, fontsize=9)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", labelsize=7, colors=INK, length=2)
