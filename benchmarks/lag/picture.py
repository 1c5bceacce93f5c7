"""Figure of ``morello bench lag``: learning curves, a row of panels for each learning rate, a column for each lag."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...agents.storage.files import replace_file
from .cartpole import LIMIT
from .summary import Run, of

COLOURS = {"vtrace": "#c2334d", "uncorrected": "#4e79a7", "ppo": "#59a14f"}


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw the mean return over seeds, and their range, of every estimator at each lag and rate."""
    lags, rates = (sorted({run[name] for run in runs}) for name in ("lag", "rate"))
    size = 2.5 * len(lags) + 1, 1.9 * len(rates) + 0.8
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rates), len(lags), sharex=True, sharey=True, squeeze=False)
    for row, rate in zip(panels, rates, strict=True):
        for axes, lag in zip(row, lags, strict=True):
            for estimator, colour in COLOURS.items():
                if not (mine := of(runs, estimator, lag, rate)):
                    continue
                steps = np.array(mine[0]["step"]) / 1000
                returns = np.array([run["episode_return"] for run in mine], dtype=np.float64)
                axes.plot(steps, returns.mean(0), color=colour, label=estimator)
                axes.fill_between(steps, returns.min(0), returns.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.set_ylim(0, LIMIT * 1.02)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(f"return, rate {rate:g}")
        row[0].legend(frameon=False, loc="upper left", fontsize=8)
    for axes, lag in zip(panels[0], lags, strict=True):
        axes.set_title(f"lag {lag}", fontsize=10)
    for axes in panels[-1]:
        axes.set_xlabel("thousand steps")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    replace_file(path, buffer.getvalue())
