"""``morello bench lag``: V-trace and the uncorrected gradient on rollouts of outdated weights."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...agents.storage.files import named
from ...envs.errors import UserError, suggest
from ...flags import parse
from ..progress_line import progress_line
from ..records import circumstances, code_digest, command_line, output_folder, write
from .picture import draw
from .summary import THRESHOLD, Run, rows
from .training import CLIPPED, ENVS, ESTIMATORS, SINGLE, UNROLL, Case, train

CODE = ("agents", "auxiliaries", "backbones", "envs", "benchmarks/lag")
"""Folders with the code on which a run depends."""


@dataclass(frozen=True)
class LagFlags:
    """Train on CartPole with rollouts of the weights of 0, 1, 10 and 100 updates ago, with V-trace, without any
    correction and with PPO, at several learning rates. Writes lag-cpu.json and .png; for a selection, lag-part-cpu.json
    and .png.
    """

    lags: tuple[int, ...] = (0, 1, 10, 100)
    """How many rollouts ago the acting weights were current; a rollout is one update, or two of PPO."""
    estimators: tuple[str, ...] = tuple(ESTIMATORS)
    """Estimators to compare: vtrace, uncorrected, ppo."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds to run each case with."""
    steps: int = 256_000
    """Steps of each run, 256 a rollout."""
    work: str = "runs/lag"
    """Folder in which finished runs are kept; a second call goes on where the first one stopped."""
    out: str = "benchmarks/results"
    """Folder in which the result is written."""


def main(words: list[str]) -> int:
    """Train, compare, print and write the results; raise UserError for invalid arguments."""
    flags = parse(LagFlags, words, "morello bench lag")
    cases = selected(flags)
    work, out, console = output_folder(str(named(flags.work))), output_folder(str(named(flags.out))), Console()
    console.width = max(console.width, 100)  # a narrow terminal should wrap lines, not cut numbers
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with progress_line(console) as tell:
            runs = []
            for i, case in enumerate(cases):
                tell(f"seed {case.seed}", f"run {i + 1} of {len(cases)}: {case.name}")
                runs.append(finished(case, work))
    finally:
        torch.set_num_threads(threads)
    runs.sort(key=lambda run: (run["lag"], list(ESTIMATORS).index(run["estimator"]), run["rate"]))
    found = list(rows(runs))
    show(found, console)
    given = {k: v for k, v in dataclasses.asdict(flags).items() if k not in ("work", "out")}
    whole = given == {k: v for k, v in dataclasses.asdict(LagFlags()).items() if k in given}
    path = out / f"lag{'' if whole else '-part'}-cpu.json"  # a part must not replace the whole
    command = command_line("lag", words)
    shape = {"num_envs": ENVS, "unroll": UNROLL, "threshold": THRESHOLD}
    learners = {"single": dataclasses.asdict(SINGLE), "clipped": dataclasses.asdict(CLIPPED)}
    result = {"benchmark": "lag", "command": command, "settings": given | shape, "learners": learners}
    write(path, result | {"table": found, "runs": runs} | circumstances(()))
    draw(runs, path.with_suffix(".png"))
    console.print(Text(f"written to {path} and .png"), soft_wrap=True)
    return 0


def selected(flags: LagFlags) -> list[Case]:
    """Return the runs to make, seed by seed; raise UserError for invalid arguments."""
    for name in flags.estimators:
        if name not in ESTIMATORS:
            raise UserError(f"no estimator {name!r}: {suggest(name, ESTIMATORS)}")
    for flag, values, limit in (("lags", flags.lags, 10_000), ("seeds", flags.seeds, 2**62)):
        if not values or len(set(values)) < len(values) or not all(0 <= value < limit for value in values):
            raise UserError(f"--{flag} are different numbers, at least one, 0 or more and below {limit}.")
    if flags.steps < ENVS * UNROLL or not flags.estimators:
        raise UserError(f"--steps must be at least {ENVS * UNROLL}, one rollout, and --estimators must name one.")
    every = itertools.product(flags.seeds, flags.lags, dict.fromkeys(flags.estimators))
    return [Case(e, lag, rate, seed, flags.steps) for seed, lag, e in every for rate in ESTIMATORS[e].rates]


def finished(case: Case, work: Path) -> Run:
    """Return the result of a run, from its file in ``work`` if it was made before with the same settings and
    code.
    """
    path = work / f"{case.name}.json"
    estimator = ESTIMATORS[case.estimator]
    settings: dict[str, Any] = {"learner": dataclasses.asdict(estimator.learner), "on_policy": estimator.on_policy}
    settings |= {"num_envs": ENVS, "unroll": UNROLL, "code": code_digest(CODE)}
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["settings"] == settings:
            run: Run = kept["run"]
            return run
    begun = time.process_time()
    found = train(case)
    run = dataclasses.asdict(case) | found | {"processor_seconds": round(time.process_time() - begun, 1)}
    write(path, {"settings": settings, "run": run})
    return run


def show(found: Sequence[dict[str, Any]], console: Console) -> None:
    """Print a table with one row for each lag, estimator and rate."""
    title = "return of the learnt weights, and steps until training first reached the threshold"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in ("lag", "estimator", "rate", "final", "least", "most", f"reached {THRESHOLD:.0f}", "steps"):
        table.add_column(column, justify="left" if column == "estimator" else "right", no_wrap=True)
    for row in found:
        numbers = [f"{row[name]:.0f}" for name in ("final", "least", "most")]
        steps = "-" if row["steps"] is None else f"{row['steps']:,.0f}"
        cells = str(row["lag"]), row["estimator"], f"{row['rate']:g}", *numbers
        style = "bold" if row["best"] else None
        table.add_row(*cells, f"{row['reached']} of {row['seeds']}", steps, style=style)
    console.print(table)
