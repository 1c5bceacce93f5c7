"""Records of several experiments in one figure: for each, the mean over seeds and the band that they span."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...agents.storage.files import read_regular
from ...agents.storage.read_json import LARGEST, NUMBER, parse
from ...envs.errors import UserError
from ..picture import blank, save
from .smoothing import RETURN, drawn

CURVE = {"step": [float], "episode_return": [float], "episodes?": [float]}
RECORD = {"env": str, "preset": str, "seeds": [{"curve": CURVE}]}
"""Fields that the figure reads from a record."""
COLOURS = ("#555555", "#c2334d", "#4e79a7", "#59a14f", "#f28e2b", "#b07aa1")
DASHES = ("-", "--", ":")


def label(measure: str) -> str:
    """Return the name of a column in words."""
    return measure.removeprefix("explore/").replace("_", " ")


def check(record: Mapping[str, Any], measure: str, path: object = "") -> None:
    """Raise UserError unless each seed of the record has numbers in the column ``measure``, as many as steps."""
    curves = [seed["curve"] for seed in record["seeds"]]
    if measure == "step" or not all(_has(curve, measure) for curve in curves):
        known = [name for name in curves[0] if name != "step" and all(_has(curve, name) for curve in curves)]
        where = f"{path} has" if path else "The runs have"
        raise UserError(f"{where} no numbers named '{measure}': give --measure one of {', '.join(known)}.")


def _has(curve: Mapping[str, Any], name: str) -> bool:
    """Return whether a curve has a column of numbers, of which not all are missing (None)."""
    column = curve.get(name)
    if not isinstance(column, list) or len(column) != len(curve["step"]):
        return False
    known = [x for x in column if x is not None]
    return bool(known) and all(type(x) in (int, float) and abs(x) < NUMBER for x in known)


def read(paths: list[Path], measure: str = RETURN) -> dict[Path, dict[str, Any]]:
    """Read records; raise UserError for files that are not records or lack the column ``measure``."""
    records = {}
    for path in paths:
        try:
            records[path] = parse(read_regular(path, LARGEST), RECORD)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"{path} is not a record of morello bench curves: {why}.") from error
        curves = [seed["curve"] for seed in records[path]["seeds"]]
        if not curves or not all(map(_is_whole, curves)):
            raise UserError(f"{path} is not a record of morello bench curves: it lacks a curve.")
        check(records[path], measure, path)
    return records


def of_one_environment(records: Mapping[Path, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return records by name: their preset, with their folder where two have the same preset.

    Raises UserError for records of several environments.
    """
    if len(envs := sorted({record["env"] for record in records.values()})) > 1:
        raise UserError(f"These are records of {' and '.join(envs)}: name those of one environment.")
    presets = [record["preset"] for record in records.values()]
    named: dict[str, dict[str, Any]] = {}
    for path, record in records.items():
        name = record["preset"]
        if presets.count(name) > 1:
            name = f"{name}, {path.resolve().parent.name}"
        if name in named:
            raise UserError(f"Two records would both be called '{name}', of which {path} is one: rename its folder.")
        named[name] = record
    return named


def _is_whole(curve: Mapping[str, Any]) -> bool:
    columns = [curve[name.rstrip("?")] for name in CURVE if name.rstrip("?") in curve]
    return len({len(c) for c in columns}) == 1 and bool(columns[0]) and min(curve.get("episodes", [0])) >= 0


def draw(records: Mapping[str, Mapping[str, Any]], path: Path, measure: str = RETURN) -> None:
    """Draw a measure over steps, interpolated linearly between a run's recorded steps."""
    figure, axes = blank()
    styles = [(colour, dash) for dash in DASHES for colour in COLOURS]
    for (name, record), (colour, dash) in zip(records.items(), styles * len(records), strict=False):
        curves = [drawn(seed["curve"], measure) for seed in record["seeds"]]
        steps = np.unique(np.concatenate([one for one, _ in curves]))
        each = np.array([np.interp(steps, *curve) for curve in curves])
        axes.plot(steps / 1e6, each.mean(0), color=colour, linestyle=dash, label=f"{name} ({_seeds(len(curves))})")
        band = min(0.15, 0.4 / len(records))  # many lie upon each other
        axes.fill_between(steps / 1e6, each.min(0), each.max(0), color=colour, alpha=band, linewidth=0)
    env = next(iter(records.values()))["env"]
    axes.set(xlabel="million agent steps", ylabel=label(measure), title=f"{env}   mean and range of seeds")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def _seeds(number: int) -> str:
    return f"{number} seed" if number == 1 else f"{number} seeds"
