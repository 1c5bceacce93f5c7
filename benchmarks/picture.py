"""Creating and saving of figures."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..agents.storage.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def blank() -> tuple[Figure, Axes]:
    """Return a new figure with one set of axes."""
    figure, (axes,) = panels(1)
    return figure, axes


def panels(count: int, width: float = 8) -> tuple[Figure, list[Axes]]:
    """Return a new figure, ``width`` inches wide, with ``count`` sets of axes side by side, which share what is up."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=True).flat)


def save(figure: Figure, path: Path) -> None:
    """Save a figure as a PNG, atomically; a dollar sign in the title or legend is drawn as such, not as mathematics."""
    buffer = BytesIO()
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        legend = axes.get_legend()
        for text in (axes.title, *(legend.get_texts() if legend else ())):
            text.set_parse_math(False)
    figure.savefig(buffer, format="png")
    replace_file(path, buffer.getvalue())
