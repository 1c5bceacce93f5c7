"""Records of several experiments in one picture: a colour each, the mean of its seeds in the band that they span."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..envs.errors import UserError
from .smoothing import drawn

COLOURS = ("#555555", "#c2334d", "#4e79a7", "#59a14f", "#f28e2b", "#b07aa1")


def read(paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Records by what tells them apart: their preset, with their folder where two have the same. UserError for files
    that are none, or of several environments.
    """
    records = {}
    for path in paths:
        try:
            records[path] = json.loads(path.read_bytes())
            str(records[path]["preset"]), records[path]["seeds"][0]["curve"]["step"]
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise UserError(f"{path} is no record of morello bench curves.") from error
    if len(envs := sorted({record["env"] for record in records.values()})) > 1:
        raise UserError(f"These are records of {' and '.join(envs)}: name those of one environment.")
    presets = [record["preset"] for record in records.values()]
    return {
        r["preset"] if presets.count(r["preset"]) == 1 else f"{r['preset']}, {path.parent.name}": r
        for path, r in records.items()
    }


def draw(records: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Return over steps. Between two records of a run it is on the straight line that joins them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (name, record), colour in zip(records.items(), COLOURS * len(records), strict=False):
        curves = [drawn(seed["curve"]) for seed in record["seeds"]]
        steps = np.unique(np.concatenate([one for one, _ in curves]))
        each = np.array([np.interp(steps, *curve) for curve in curves])
        axes.plot(steps / 1e6, each.mean(0), color=colour, label=f"{name} ({len(curves)} seeds)")
        axes.fill_between(steps / 1e6, each.min(0), each.max(0), color=colour, alpha=0.15, linewidth=0)
    env = next(iter(records.values()))["env"]
    axes.set(xlabel="million agent steps", ylabel="episode return", title=f"{env}   mean and range of seeds")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
