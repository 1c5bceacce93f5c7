"""Figure of ``morello bench density``: gaps to the exact entropy, and samples next to data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def draw(found: dict[str, list[dict[str, Any]]], pictures: dict[str, dict[str, Tensor]], path: Path) -> None:
    """Draw the gaps in nats per item on a logarithmic scale: a bar for the largest of a case, a dot for each seed.

    Below, for each case with images, draw a row of data and a row of samples.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    gaps = {name: [r["gap"] for r in records] for name, records in found.items() if "gap" in records[0]}
    shown = {name: p for name, p in pictures.items() if p}
    rows = -(-len(shown) // 2)
    figure = Figure(figsize=(9, 0.6 + 0.32 * len(gaps) + 1.25 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[0.6 + 0.32 * len(gaps), 0.1 + 1.25 * rows])
    upper, lower = parts
    if gaps:
        axes = upper.subplots()
        largest = [max(each) for each in gaps.values()]
        bars = axes.barh(list(gaps), [max(gap, 1e-3) for gap in largest], color="#c2334d")
        axes.bar_label(bars, [f"{gap:.3f}" for gap in largest], padding=5, fontsize=8)
        for name, each in gaps.items():
            axes.plot([max(gap, 1e-3) for gap in each], [name] * len(each), "o", color="#3c0f18", markersize=3)
        axes.set(xscale="log", xlabel="nats per item above the exact entropy")
        axes.set_xlim(1e-3, 4 * max(1e-2, *largest))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    if shown:
        grid = lower.subplots(rows, 2, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, (name, images) in zip(grid.flat, shown.items(), strict=False):
            axes.imshow(sheet(images["data"], images["samples"]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(f"{name}: data above, samples below", fontsize=8)
    figure.savefig(path)


def sheet(above: Tensor, below: Tensor) -> Any:
    """Tile two rows of images [N, H, W, C] in [0, 1], separated by white lines, into a NumPy image.

    It is [H', W', C], or [H', W'] for one channel.
    """
    rows = [torch.nn.functional.pad(x, (0, 0, 1, 1, 1, 1), value=1.0) for x in (above, below)]
    tiled = torch.cat([torch.cat(list(row), dim=1) for row in rows])
    return tiled.squeeze(-1).numpy()
