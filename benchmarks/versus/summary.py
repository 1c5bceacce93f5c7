"""Medians and ratios of interleaved repeats, and their table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .libraries import OURS

GOAL = 1.5
"""Ratio of our throughput to another library's that we aim for."""


def spread(rates: Sequence[float]) -> dict[str, Any]:
    """Return the rates of all repeats, their median, and (fastest - slowest) / median."""
    median = statistics.median(rates)
    return {"steps_per_second": list(rates), "median": median, "spread": (max(rates) - min(rates)) / median}


def ratios(rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return our rate over each other library's, repeat by repeat, and the median of these ratios.

    A repeat's measurements follow each other, so that a slow phase of the machine falls on both.
    """
    found = {}
    for name in rates.keys() - {OURS}:
        each = [ours / theirs for ours, theirs in zip(rates[OURS], rates[name], strict=True)]
        found[name] = {"each": each, "median": statistics.median(each), "goal": GOAL}
    return {name: found[name] for name in rates if name in found}


def show(made: Mapping[str, Any], console: Console) -> None:
    """Print the libraries' rates and our ratios to them, as in the record ``made``, and what was not measured."""
    table = Table(title=made["title"], title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in ("library", "algorithm", "settings"):
        table.add_column(column)
    for column in ("steps/s", "spread", "ours over it"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, entry in made["libraries"].items():
        ratio = made["ratios"].get(name)
        over = "" if ratio is None else f"{ratio['median']:.2f}x"
        numbers = f"{entry['median']:,.0f}", f"{entry['spread']:.0%}", over
        table.add_row(entry["title"], entry["algorithm"], entry["candidate"], *numbers)
    console.print(table)
    for name, ratio in made["ratios"].items():
        if ratio["median"] < GOAL:
            title = made["libraries"][name]["title"]
            text = f"Below the goal of {GOAL} times {title}: {ratio['median']:.2f}."
            console.print(Text(text, style="yellow"), soft_wrap=True)
    for note in made["notes"]:
        console.print(Text(note, style="yellow"), soft_wrap=True)
