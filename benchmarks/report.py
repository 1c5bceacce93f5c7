"""What a benchmark found: ratios, tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..agents.storage.git import checkout
from ..agents.storage.provenance import ROOT, hardware, versions
from ..envs.errors import UserError
from .timing import Measurement

VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "LP_NUM_THREADS")
"""Environment variables that decide how torch's and Mesa's threads run and wait."""

RATIOS = {
    "threads_speedup": "environment, all threads over one",
    "training_of_ceiling": "training, share of the composed ceiling",
    "learning_of_torso": "learning, share of its torso alone",
    "environment_over_miniworld": "environment, one thread or GPU, over MiniWorld",
    "training_over_stable_baselines3": "training over Stable-Baselines3's A2C",
}


def composed_ceiling(environment: float, acting: float, learning: float) -> float:
    """Steps per second of training if its parts ran one after the other, each as fast as alone, and nothing else."""
    return 1 / (1 / environment + 1 / acting + 1 / learning)


def derived(median: Mapping[str, float]) -> dict[str, float]:
    """The ceiling in steps per second and the `RATIOS`, from the medians of the parts that were measured."""
    found: dict[str, float] = {}
    if median.keys() >= {"environment", "acting", "learning"}:
        found["composed_ceiling"] = composed_ceiling(median["environment"], median["acting"], median["learning"])
    one_thread = "environment_one_thread" if "environment_one_thread" in median else "environment"
    pairs = {
        "threads_speedup": ("environment", "environment_one_thread"),
        "training_of_ceiling": ("training", "composed_ceiling"),
        "learning_of_torso": ("learning", "torso"),
        "environment_over_miniworld": (one_thread, "miniworld"),
        "training_over_stable_baselines3": ("training", "stable_baselines3"),
    }
    known = {**median, **found}
    return found | {name: known[a] / known[b] for name, (a, b) in pairs.items() if a in known and b in known}


def as_json(measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    """``parts``, every repeat of each, and what is ``derived`` from their medians."""
    parts = {
        name: {
            "about": m.about,
            "threads": m.threads,
            "steps_per_call": m.steps,
            "calls": m.calls,
            "seconds": list(m.seconds),
            "steps_per_second": m.steps_per_second,
            "median": m.median,
            "spread": m.spread,
        }
        for name, m in measurements.items()
    }
    return {"parts": parts, "derived": derived({name: m.median for name, m in measurements.items()})}


def show(found: Mapping[str, Any], title: str, console: Console) -> None:
    """One batch's parts and ratios, of `as_json`, as a table."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, expand=True)
    table.add_column("part", no_wrap=True)
    for column in ("threads", "steps/s", "spread"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what it does", style="dim", no_wrap=True, overflow="ellipsis", ratio=1)
    for name, part in found["parts"].items():
        numbers = f"{part['threads']}", f"{part['median']:,.0f}", f"{part['spread']:.0%}"
        table.add_row(name.replace("_", " "), *numbers, Text(part["about"]))
    ratios = found["derived"]
    if "composed_ceiling" in ratios:
        about = "environment, acting and learning in turn, each as fast as alone"
        table.add_row("composed ceiling", "", f"{ratios['composed_ceiling']:,.0f}", "", about)
    console.print(table)
    for name, about in RATIOS.items():
        if name in ratios:
            value = f"{ratios[name]:.0%}" if "_of_" in name else f"{ratios[name]:.2f}x"
            console.print(Text(f"{about:48} {value:>8}"))


def show_sweep(points: list[dict[str, Any]], console: Console) -> None:
    """Steps per second by the number of environments."""
    names = list(dict.fromkeys(name for point in points for name in point["parts"]))
    table = Table(title="steps/s by number of environments", title_justify="left", box=SIMPLE_HEAD)
    for column in ("environments", *names):
        table.add_column(column.replace("_", " "), justify="right")
    for point in points:
        medians = (f"{point['parts'][n]['median']:,.0f}" if n in point["parts"] else "-" for n in names)
        table.add_row(f"{point['num_envs']:,}", *medians)
    console.print(table)


def circumstances(packages: Sequence[str]) -> dict[str, Any]:
    """What a result depends on: commit, hardware, environment variables, versions, those of ``packages`` too."""
    code = checkout(ROOT, root=True)
    return {
        "commit": code and code["commit"],
        "modified": code and bool(code["diff"]),
        "hardware": hardware(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "versions": versions() | {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def output_folder(out: str) -> Path:
    """The folder ``out``, there from now on. UserError if it cannot be."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Results cannot go to {folder}: {error.strerror}; name another folder with --out.") from error
    return folder


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Whole or not at all: under another name first, then renamed."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(result, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
