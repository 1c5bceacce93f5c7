"""The metrics of many runs as one table."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...envs.errors import UserError
from .checkpoint import to_stderr
from .config_file import CONFIG, WHERE, read_config
from .metrics import METRICS, read_records
from .provenance import PROVENANCE

LABELS = ("env", "preset", "seed")


# Reading


def read_runs(
    pattern: str | Path | Iterable[str | Path], warn: Callable[[str], None] = to_stderr
) -> dict[str, np.ndarray[Any, Any]]:
    """Read all metrics of all runs in or below the folders that ``pattern`` (one or several globs) matches.

    Each record is a row, in columns for ``pandas.DataFrame``: run, env, preset, seed and every key that occurs. A value
    that a record lacks is NaN among numbers and "" among strings. UserError if there is no run.
    """
    patterns = [pattern] if isinstance(pattern, str | Path) else list(pattern)
    folders = sorted({run for p in patterns for run in _runs_below(str(p))})
    if not folders:
        raise UserError(f"No run at {' or '.join(map(str, patterns))}. {WHERE}")
    rows: list[dict[str, Any]] = []
    for folder in folders:
        config, _ = read_config(folder)
        labels = {"run": str(folder)} | {name: config.get(name) for name in LABELS}
        rows += [record | labels for record in read_records(folder / METRICS, warn)]
    names = dict.fromkeys(["run", *LABELS, *(name for row in rows for name in row)])
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _runs_below(pattern: str) -> Iterator[Path]:
    for match in [pattern] if os.path.exists(pattern) else glob.glob(pattern, recursive=True):
        for folder, below, files in os.walk(match):
            if CONFIG in files and PROVENANCE in files:
                below.clear()
                yield Path(folder)


def _column(values: list[Any]) -> np.ndarray[Any, Any]:
    """Convert values to a column: strings if any value is a string, else integers if all are, else floats; None is
    missing.
    """
    if any(isinstance(v, str) for v in values):
        return np.array(["" if v is None else str(v) for v in values])
    if values and all(isinstance(v, int) for v in values):
        return np.array(values)
    return np.array([np.nan if v is None else float(v) for v in values])
