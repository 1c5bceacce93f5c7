"""``morello bench tv``: which intrinsic rewards a noisy television attracts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from ...envs.errors import UserError, suggest
from ...flags import parse
from ..progress_line import progress_line
from ..records import circumstances, command_line, output_folder, write
from .measure import Levels, Signal, measure, points, signals
from .picture import draw
from .rooms import HALF, SIDE, STILL, TELEVISIONS, TURN, UNROLL
from .summary import RULE, summary

POINTS, SMOKE = 40, 20
"""Points of a recorded curve; rollouts of --smoke, of which the first 16 warm some rewards up."""
STEPS = 2 * HALF * UNROLL
"""Steps of a rollout."""


@dataclass(frozen=True)
class TvFlags:
    """Let intrinsic rewards score, and learn from, scripted walks in Labyrinth's nine rooms. Each walk is made twice:
    before a television that shows fresh noise, or new noise at the push of a button, and without new noise. No policy
    learns. Writes tv-cpu.json and .png; for a selection, tv-part-cpu.json and .png.
    """

    rewards: Positional[tuple[str, ...]] = ()
    """Rewards to measure, such as rnd, or prediction_error/pixels; by default all."""
    rollouts: int = 160
    """Rollouts of 256 steps; each is one update of a reward."""
    seed: int = 0
    """Seed of the behaviour, the noise and the rewards' networks."""
    smoke: bool = False
    """Make 20 rollouts only, to see that everything runs: the verdicts mean nothing."""
    out: str = "benchmarks/results"
    """Folder in which the result is written."""


def main(words: list[str]) -> int:
    """Measure, compare, print and write the results; raise UserError for invalid arguments."""
    flags = parse(TvFlags, words, "morello bench tv")
    chosen = selected(flags)
    folder, console = output_folder(flags.out), Console()
    console.width = max(console.width, 130)  # a narrow terminal should wrap lines, not cut numbers
    rollouts = SMOKE if flags.smoke else flags.rollouts
    count = min(POINTS, rollouts)
    found: dict[str, dict[str, list[Levels]]] = {name: {} for name in chosen}
    with progress_line(console) as tell:
        for television in TELEVISIONS:
            for name, curve in measure(
                television, chosen, rollouts, flags.seed, partial(tell, f"television {television}")
            ).items():
                found[name][television] = points(curve, count)
    rows = {name: {k: summary(curve) for k, curve in its.items()} for name, its in found.items()}
    show(rows, console)
    given = {k: v for k, v in dataclasses.asdict(flags).items() if k != "out"} | {"rollouts": rollouts}
    shape = {"num_envs": 2 * HALF, "unroll": UNROLL, "side": SIDE, "still": STILL, "turn": TURN}
    result = {"benchmark": "tv", "command": command_line("tv", words), "settings": given | shape}
    result |= {"televisions": TELEVISIONS, "rule": RULE, "signals": {k: v._asdict() for k, v in chosen.items()}}
    steps = [(i + 1) * rollouts * STEPS / count for i in range(count)]
    curves = {name: {k: _columns(curve) for k, curve in its.items()} for name, its in found.items()}
    whole = flags == TvFlags(out=flags.out)
    path = folder / f"tv{'' if whole else '-part'}-cpu.json"  # a part must not replace the whole
    write(path, result | {"table": rows, "steps": steps, "curves": curves} | circumstances(()))
    draw(found, [step / 1000 for step in steps], path.with_suffix(".png"))
    console.print(Text(f"written to {path} and .png"), soft_wrap=True)
    return 0


def selected(flags: TvFlags) -> dict[str, Signal]:
    """Return the signals to measure; raise UserError for invalid arguments."""
    if flags.rollouts < 1 or not 0 <= flags.seed < 2**62:
        raise UserError("--rollouts must be at least 1, and --seed 0 or more and below 2^62.")
    every = signals()
    known = {*every, *(signal.reward for signal in every.values())}
    for asked in flags.rewards:
        if asked not in known:
            raise UserError(f"no reward {asked!r}: {suggest(asked, sorted(known))}")
    asked_for = set(flags.rewards) or known
    return {name: signal for name, signal in every.items() if {name, signal.reward} & asked_for}


def _columns(curve: Sequence[Levels]) -> dict[str, list[float | None]]:
    """Return a curve as lists of numbers with five digits; None where nothing was paid yet."""
    return {
        field: [None if math.isnan(x) else float(f"{x:.5g}") for x in (getattr(row, field) for row in curve)]
        for field in Levels._fields
    }


def show(rows: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print a table with one row for each signal."""
    title = "reward before the television, and at rest without new noise, over that of the same walks without"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("reward", no_wrap=True)
    for television in TELEVISIONS:
        for column in (f"{television}: start", "end", "rest", "trend"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
    for name, its in rows.items():
        cells: list[str] = []
        for row in its.values():
            cells += [*(_number(row[key]) for key in ("start", "end", "rest", "trend")), row["verdict"]]
        table.add_row(name, *cells)
    console.print(table)


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:.2f}"
