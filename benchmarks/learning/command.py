"""``morello bench learning``: steps and seconds to a training return, side by side with a peer."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ...agents.storage.files import named
from ..progress_line import progress_line
from ..records import circumstances, command_line, output_folder, write
from . import process
from .peers import PACKAGES, peer_of
from .picture import draw
from .record import curves, record, show
from .settings import OURS, PEER, Bench, read


def main(words: list[str]) -> int:
    """Train, compare, print and write the results; return the exit code. UserError for invalid arguments."""
    bench = read(words)
    folder, console = output_folder(bench.flags.out), Console()
    console.width = max(console.width, 130)  # a narrow terminal should wrap lines, not cut numbers
    try:
        found = every_run(bench, words, console)
    except process.RunFailedError as error:
        print(f"morello: {error}", file=sys.stderr)
        return 1
    made = record(bench, found)
    show(made, console)
    env = bench.config.env.replace(":", "-").replace("/", "-")
    path = folder / f"bench-learning-{env}-{bench.preset}.json"
    command = command_line("learning", words)
    write(path, {"benchmark": "learning", "command": command} | made | circumstances(PACKAGES))
    names = {OURS: f"morello {bench.preset}", PEER: peer_of(bench.config) if PEER in bench.agents else ""}
    drawn = {names[agent]: its for agent, its in curves(bench, found).items()}
    draw(drawn, bench.flags.returns, bench.config.env, path.with_suffix(".png"))
    console.print(Text(f"written to {path} and .png"), soft_wrap=True)
    return 0


def every_run(bench: Bench, words: list[str], console: Console) -> dict[tuple[str, int], dict[str, Any]]:
    """Return every run by agent and seed, in their order; those that an earlier command has finished are not made."""
    imports = imported()
    folder = process.work_folder(named(bench.flags.work), bench.config, bench.preset, imports, bench.own)
    found, kept = {}, 0
    with progress_line(console) as tell:
        for agent, seed in bench.runs():
            path = folder / f"{agent}-{seed}.json"
            run = process.finished(path)
            if run is None:
                say = partial(tell, f"{agent}, seed {seed}")
                say("starting")
                run = process.make(path, words, imports, agent, seed, bench.config.threads or 1, say)
            else:
                kept += 1
            found[agent, seed] = run
    if kept:
        console.print(Text(f"{kept} of {len(found)} runs were finished before, in {folder}"), soft_wrap=True)
    return found


def imported() -> list[str]:
    """Return the files that --import has run, which a run's own process imports too."""
    files = [getattr(module, "__file__", None) for name, module in [*sys.modules.items()] if name.startswith(IMPORTED)]
    return [str(Path(file)) for file in files if file]


IMPORTED = "morello_import_"
