"""``morello bench versus``: throughput of training beside other libraries, on one task of EnvPool's."""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta
from rich.console import Console
from rich.text import Text

from ...agents.config.validation import validated
from ...agents.storage.files import named
from ...flags import parse
from ..progress_line import progress_line
from ..records import circumstances, command_line, output_folder, write
from .libraries import LIBRARIES, OURS
from .ours import config_of
from .peers.pool import ACTION_REPEAT, FRAME, TASK
from .summary import ratios, show, spread
from .turns import Turns
from .venvs import SkippedError, versions_in


@dataclass(frozen=True)
class VersusFlags:
    """Train on ViZDoom's MyWayHome with our a2c, Stable-Baselines3's A2C and Sample Factory's APPO, all through EnvPool
    with the Nature CNN, in turns, and compare their environment steps per second. The other libraries are installed in
    virtual environments of their own. Writes versus-cpu.json.
    """

    libraries: tuple[Literal[*LIBRARIES], ...] = tuple(LIBRARIES)  # type: ignore[valid-type]
    """Libraries to compare with."""
    num_envs: Annotated[int, Meta(ge=4, multiple_of=4)] = 16
    """Number of parallel environments."""
    repeats: Annotated[int, Meta(ge=1)] = 5
    """Number of times each library is measured."""
    seconds: Annotated[float, Meta(gt=0)] = 10.0
    """Length of one measurement in seconds."""
    warmup: Annotated[float, Meta(ge=0)] = 3.0
    """Seconds of training before a measurement."""
    tune: bool = False
    """First measure all settings that are known for the other libraries, once, and use the fastest of each."""
    seed: Annotated[int, Meta(ge=0, lt=2**30)] = 0
    """Seed of weights and environments in the first repeat, counted up in the others."""
    venvs: str = "build/versus"
    """Folder of the other libraries' virtual environments, which are made when they are missing."""
    out: str = "benchmarks/results"
    """Folder in which the result is written."""


def main(words: list[str]) -> int:
    """Measure, print and write the results; return the exit code. UserError for invalid arguments."""
    flags = validated(parse(VersusFlags, words, "morello bench versus"))
    folder, console = output_folder(flags.out), Console()
    console.width = max(console.width, 130)  # a narrow terminal should wrap lines, not cut numbers
    try:
        made = run(flags, console)
    except SkippedError as failed:
        print(f"morello: {failed}", file=sys.stderr)
        return 1
    show(made, console)
    path = folder / "versus-cpu.json"
    command = command_line("versus", words)
    write(path, {"benchmark": "versus", "command": command} | made | circumstances(("envpool",)))
    console.print(Text(f"written to {path}"), soft_wrap=True)
    return 0


def run(flags: VersusFlags, console: Console) -> dict[str, Any]:
    """Install, measure in turns, and return the results as JSON. Raises SkippedError if our training fails."""
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    with progress_line(console) as tell:
        turns = Turns(flags.num_envs, flags.seed, flags.warmup, flags.seconds, named(flags.venvs), tell)
        turns.prepare(flags.libraries)
        measuring = time.perf_counter()
        if flags.tune:
            turns.tune()
        rates = turns.repeats(flags.repeats)
    return {
        "title": f"{TASK} through EnvPool, {flags.num_envs} environments, Nature CNN, CPU",
        "unit": "environment steps per second of training; seconds are wall-clock",
        "started": started,
        "took_seconds": time.perf_counter() - began,
        "measuring_seconds": time.perf_counter() - measuring,
        "settings": {k: v for k, v in dataclasses.asdict(flags).items() if k not in ("out", "venvs")},
        "task": {"id": TASK, "frame": list(FRAME), "frame_stack": 1, "action_repeat": ACTION_REPEAT},
        "libraries": {name: described(name, turns) | spread(its) for name, its in rates.items()},
        "ratios": ratios(rates),
        "tried": turns.tried,
        "differences": DIFFERENCES,
        "notes": turns.notes,
    }


DIFFERENCES = [
    "Our torso runs in bfloat16 where the processor multiplies it natively; the other libraries' is float32.",
    "Our environments are two EnvPools that alternate, Stable-Baselines3's one, Sample Factory's as its settings say.",
    "Each of our EnvPools has twice torch's threads; the others' have what was fastest, or the first of the settings.",
    "Rewards are the scenario's in ours and EnvPool's own in the others.",
    "Our steps include those that begin an episode anew, about one in 500.",
    "Sample Factory's asynchronous mode learns from outdated weights; the others do not.",
]
"""What is not the same for all, beside the algorithms."""


def described(name: str, turns: Turns) -> dict[str, Any]:
    """Return what was measured: algorithm, settings and versions, ours in ``circumstances`` apart."""
    if name == OURS:
        config = config_of(turns.num_envs, turns.seed)
        settings = {k: getattr(config, k) for k in ("unroll", "torso", "memory", "dtype", "threads")}
        candidate = f"unroll {config.unroll}, {config.dtype}, {config.threads} threads"
        return {"title": OURS, "algorithm": "a2c", "candidate": candidate, "settings": settings}
    library, candidate = LIBRARIES[name], turns.chosen[name]
    return {
        "title": library.title,
        "algorithm": library.algorithm,
        "candidate": candidate,
        "settings": library.candidates[candidate],
        "versions": versions_in(turns.pythons[name], library),
    }
