"""``morello bench reached RECORD...``: steps until a level is reached, by experiment and environment."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from ...agents.storage.files import named
from ...envs.errors import UserError
from ...flags import parse
from ..learning.curve import over_seeds
from ..picture import blank, save
from ..records import output_folder, written
from . import side_by_side
from .smoothing import drawn

Found = dict[str, dict[str, list[tuple[float | None, float]]]]
"""By experiment, environment and seed: the step at which the level was reached, or None, and the last step."""
MARKS = "osD^vP*X"
PICTURE = "reached.png"
WIDE = 400
"""Characters in a line where no terminal limits it."""


@dataclass(frozen=True)
class ReachedFlags:
    """Print after how many thousand steps each seed of each record first reached a level, and draw it over the
    environments on a logarithmic scale. Records in folders of one name are one experiment in several environments.
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
    if not math.isfinite(flags.level):
        raise UserError(f"--level must be a finite number, not {flags.level}.")
    paths = [*dict.fromkeys(named(path).resolve() for path in flags.records)]
    found = compare(side_by_side.read(paths, flags.measure), flags)
    show(found, Console(width=None if sys.stdout.isatty() else WIDE))
    with written(folder / PICTURE):
        draw(found, f"{side_by_side.label(flags.measure)} of {flags.level:g}", folder / PICTURE)
    return 0


def compare(records: Mapping[Path, Mapping[str, Any]], flags: ReachedFlags) -> Found:
    """Return when each seed reached the level. UserError for two records of one experiment and environment."""
    found: Found = {}
    for path, record in records.items():
        its, env = found.setdefault(path.parent.name, {}), record["env"]
        if env in its:
            raise UserError(f"{path} is a second record of {env} in a folder '{path.parent.name}': rename the folder.")
        its[env] = []
        for seed in record["seeds"]:
            steps, values = drawn(seed["curve"], flags.measure)
            above = steps[values >= flags.level]
            its[env].append((float(above[0]) if len(above) else None, float(seed["curve"]["step"][-1])))
    return found


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which numbers in names are ordered as numbers: 2 before 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(len(x.lstrip("0")), x.lstrip("0")) if i % 2 else (0, x) for i, x in enumerate(parts)]


def environments(found: Found) -> list[str]:
    """Return the environments of all experiments, in natural order."""
    return sorted({env for its in found.values() for env in its}, key=natural)


def shared(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return what all names begin with, up to a mark between words, and what is left of each."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = re.sub(r"[^:/_-]*$", "", "".join(letters[0] for letters in alike)) if len(names) > 1 else ""
    return common.rstrip(":/_-"), [name.removeprefix(common) for name in names]


def show(found: Found, console: Console) -> None:
    """Print thousands of steps, a row for each environment and a column for each experiment."""
    envs = environments(found)
    common, names = shared(envs)
    table = Table(box=SIMPLE_HEAD, title=Text("thousand steps"), title_justify="left")
    table.add_column(Text(common))
    for name in found:
        table.add_column(Text(name), justify="right")
    for env, name in zip(envs, names, strict=True):
        table.add_row(*map(Text, (name, *(_cell(its.get(env, [])) for its in found.values()))))
    console.print(table)


def _cell(seeds: Sequence[tuple[float | None, float]]) -> str:
    """Return the steps of those that reached the level, and how many did not in how many steps at most."""
    reached = sorted(step for step, _ in seeds if step is not None)
    never = [last for step, last in seeds if step is None]
    words = [f"{step / 1e3:,.0f}" for step in reached]
    if never:
        words.append(f"{len(never) if len(never) > 1 else ''} never in {max(never) / 1e3:,.0f}".strip())
    return ", ".join(words)


def draw(found: Found, level: str, path: Path) -> None:
    """Draw a mark for each seed, hollow at the last step where the level was never reached, and a line through the
    medians, which is broken where half of the seeds never reached it.
    """
    figure, axes = blank()
    envs = environments(found)
    common, names = shared(envs)
    places = dict(zip(envs, positions(names), strict=True))
    styles = [(colour, mark) for mark in MARKS for colour in side_by_side.COLOURS]
    for k, ((name, its), (colour, mark)) in enumerate(zip(found.items(), styles * len(found), strict=False)):
        aside = 0.08 * (k - (len(found) - 1) / 2)  # so that marks do not hide each other
        for env, seeds in its.items():
            for reached, last in seeds:
                face = "none" if reached is None else colour
                at, step = places[env] + aside, last if reached is None else reached
                axes.plot([at], [step], mark, color=colour, markerfacecolor=face)
        along = [env for env in envs if env in its]
        line = [places[env] + aside for env in along], [median(its[env]) for env in along]
        axes.plot(*line, color=colour, marker=mark, markersize=3, label=name)
    axes.set_yscale("log")
    axes.set_xticks(list(places.values()), names, rotation=30 if max(map(len, names)) > 8 else 0, parse_math=False)
    axes.set(ylabel="agent steps", title=f"steps to {level}   hollow: not reached")
    axes.set_xlabel(common, parse_math=False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def positions(names: Sequence[str]) -> list[int]:
    """Return where to draw environments: at the numbers that they are called, if they are, or one after the other."""
    numbers = [int(x) for x in names if re.fullmatch(r"[0-9]{1,6}", x)]
    return numbers if len(set(numbers)) == len(names) else list(range(len(names)))


def median(seeds: Sequence[tuple[float | None, float]]) -> float:
    """Return the median of the steps to the level, NaN where half of the seeds or more never reached it."""
    found = over_seeds([reached for reached, _ in seeds]).median
    return found if math.isfinite(found) else math.nan
