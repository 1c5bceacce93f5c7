"""Results as JSON and as tables, with ratios to the composed ceiling and to peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..timing import Measurement

RATIOS = {
    "threads_speedup": "environment, all threads over one",
    "training_of_ceiling": "training, share of the composed ceiling",
    "learning_of_torso": "learning, share of its torso alone",
    "environment_over_miniworld": "environment, one thread or GPU, over MiniWorld",
    "training_over_stable_baselines3": "training over Stable-Baselines3's A2C",
}


def composed_ceiling(environment: float, acting: float, learning: float) -> float:
    """Return steps per second of training if only its parts ran, one after the other, each as fast as alone."""
    return 1 / (1 / environment + 1 / acting + 1 / learning)


def derived(median: Mapping[str, float]) -> dict[str, float]:
    """Return the ceiling in steps per second and the `RATIOS`, from the medians of the measured parts."""
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
    """Return ``parts``, with every repeat of each, and the values ``derived`` from their medians."""
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
    """Print the parts and ratios of one batch size, as returned by `as_json`, as a table."""
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
    """Print a table of steps per second by number of environments."""
    names = list(dict.fromkeys(name for point in points for name in point["parts"]))
    table = Table(title="steps/s by number of environments", title_justify="left", box=SIMPLE_HEAD)
    for column in ("environments", *names):
        table.add_column(column.replace("_", " "), justify="right")
    for point in points:
        medians = (f"{point['parts'][n]['median']:,.0f}" if n in point["parts"] else "-" for n in names)
        table.add_row(f"{point['num_envs']:,}", *medians)
    console.print(table)
