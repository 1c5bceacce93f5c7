"""``morello bench reached RECORD...``: steps until a level is reached, by experiment and environment."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from ...agents.storage.files import named
from ...envs.errors import UserError
from ...flags import parse
from ..learning.curve import over_seeds
from ..picture import blank, save
from ..records import output_folder
from . import side_by_side
from .smoothing import drawn

Found = dict[str, dict[str, list[tuple[float | None, float]]]]
"""By experiment, environment and seed: the step at which the level was reached, or None, and the last step."""
MARKS = "osD^vP*X"


@dataclass(frozen=True)
class ReachedFlags:
    """Print after how many thousand steps each seed of each record first reached a level, and draw it over the
    environments on a logarithmic scale. Records in one folder are one experiment, named after the folder.
    """

    records: Positional[tuple[str, ...]]
    """Files that morello bench curves has written, such as results/*/*.json."""
    measure: str = "success"
    """Column of the records that is compared with the level."""
    level: float = 0.95
    """What is to be reached, by the mean over the window of episodes of a record."""
    out: str = "benchmarks/results"
    """Folder in which reached.png is written."""


def main(words: list[str]) -> int:
    """Read, compare, print and draw."""
    flags = parse(ReachedFlags, words, "morello bench reached")
    if not flags.records:
        raise UserError("Name records of morello bench curves: morello bench reached results/*/*.json.")
    folder = output_folder(str(named(flags.out)))
    found = compare(side_by_side.read([named(path) for path in flags.records], flags.measure), flags)
    show(found, Console())
    draw(found, f"{side_by_side.label(flags.measure)} of {flags.level:g}", folder / "reached.png")
    return 0


def compare(records: Mapping[Path, Mapping[str, Any]], flags: ReachedFlags) -> Found:
    """Return when each seed reached the level; environments are in natural order (2 before 10)."""
    found: Found = {}
    for path, record in sorted(records.items(), key=lambda item: natural(item[1]["env"])):
        its = found.setdefault(path.resolve().parent.name, {}).setdefault(record["env"], [])
        for seed in record["seeds"]:
            steps, values = drawn(seed["curve"], flags.measure)
            above = steps[values >= flags.level]
            its.append((float(above[0]) if len(above) else None, float(seed["curve"]["step"][-1])))
    return found


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which numbers in names are ordered as numbers."""
    return [(int(part or 0), "") if i % 2 else (0, part) for i, part in enumerate(re.split(r"(\d+)", name))]


def environments(found: Found) -> list[str]:
    """Return the environments of all experiments, in natural order."""
    return sorted({env for its in found.values() for env in its}, key=natural)


def shared(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return what all names begin with, up to a mark between words, and what is left of each."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = re.sub(r"[^:/_-]*$", "", "".join(letters[0] for letters in alike)) if len(names) > 1 else ""
    return common.rstrip(":/_-"), [name.removeprefix(common) for name in names]


def show(found: Found, console: Console) -> None:
    """Print thousands of steps, a row for each experiment."""
    envs = environments(found)
    common, names = shared(envs)
    table = Table(box=SIMPLE_HEAD, title=common, title_justify="left")
    table.add_column("thousand steps")
    for name in names:
        table.add_column(name, justify="right")
    for name, its in found.items():
        cells = (", ".join(map(_cell, sorted(its.get(env, []), key=_order))) for env in envs)
        table.add_row(name, *cells)
    console.print(table)


def _order(one: tuple[float | None, float]) -> float:
    return math.inf if one[0] is None else one[0]


def _cell(one: tuple[float | None, float]) -> str:
    return f"never in {one[1] / 1e3:,.0f}" if one[0] is None else f"{one[0] / 1e3:,.0f}"


def draw(found: Found, level: str, path: Path) -> None:
    """Draw a mark for each seed, hollow at the last step where the level was never reached, and a line through the
    medians, which ends where half of the seeds never reached it.
    """
    figure, axes = blank()
    envs = environments(found)
    common, names = shared(envs)
    places = dict(zip(envs, map(int, names) if all(map(str.isdigit, names)) else range(len(envs)), strict=True))
    styles = [(colour, mark) for mark in MARKS for colour in side_by_side.COLOURS]
    for k, ((name, its), (colour, mark)) in enumerate(zip(found.items(), styles * len(found), strict=False)):
        aside = 0.08 * (k - (len(found) - 1) / 2)  # so that marks do not hide each other
        for env, seeds in its.items():
            at = places[env] + aside
            for reached, last in seeds:
                face = "none" if reached is None else colour
                axes.plot([at], [last if reached is None else reached], mark, color=colour, markerfacecolor=face)
        axes.plot(*_medians(its, places, aside), color=colour, marker=mark, markersize=3, label=name)
    axes.set_yscale("log")
    axes.set_xticks(list(places.values()), names, rotation=30 if max(map(len, names)) > 8 else 0)
    axes.set(xlabel=common, ylabel="agent steps", title=f"steps to {level}   hollow: not reached")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def _medians(its: Mapping[str, Sequence[tuple[float | None, float]]], places: Mapping[str, int], aside: float) -> Any:
    medians = {env: over_seeds([reached for reached, _ in seeds]).median for env, seeds in its.items()}
    kept = [env for env in places if math.isfinite(medians.get(env, math.inf))]
    return [places[env] + aside for env in kept], [medians[env] for env in kept]
