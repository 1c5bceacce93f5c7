"""``morello bench adapters``: overhead of our adapters compared with stepping the simulators directly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from ...envs import make
from ...envs.adapters.envpool import EnvPool, Task
from ...envs.errors import UserError
from ...envs.experience import AgentState
from ...envs.processes.alternating import Alternating
from ...envs.rows import empty_rollout
from ...envs.vector_env import VectorEnv
from ...flags import parse
from ..progress_line import progress_line
from ..records import circumstances, command_line, output_folder, write
from ..timing import Part, measure
from .tables import as_json, show

ROWS = 16
"""Number of rows of the rollout that time steps are written into in turn."""
POOLS = {"vizdoom:MyWayHome": 16, "atari:Breakout": 64, "minigrid:DoorKey-5x5": 64}
"""Numbers of environments of the tasks that EnvPool simulates; each ViZDoom environment is a process."""
WORLDS = ("miniworld:OneRoom", "miniworld:MazeS3")
"""MiniWorld's tasks; in the second a reset takes as long as many steps, during which the other worker waits."""
COPIES = 32


@dataclass(frozen=True)
class AdaptersFlags:
    """Measure steps per second of EnvPool's ViZDoom, Atari and MiniGrid through our adapter and through EnvPool alone,
    and of MiniWorld in one process and in two workers: medians of interleaved repeats. Writes adapters-cpu.json.
    """

    threads: int = 1
    """Threads of each EnvPool pool."""
    repeats: int = 7
    """Number of times each part is measured."""
    seconds: float = 3.0
    """Length of one measurement in seconds."""
    out: str = "benchmarks/results"
    """Folder in which the result is written."""


def main(words: list[str]) -> int:
    """Measure, print and write the results; raise UserError for invalid arguments."""
    settings = parse(AdaptersFlags, words, "morello bench adapters")
    if settings.threads < 1 or settings.repeats < 1 or not 0 < settings.seconds < float("inf"):
        raise UserError("--threads and --repeats must be at least 1 and --seconds more than 0.")
    folder, console = output_folder(settings.out), Console()
    parts: dict[str, Part] = {}
    notes: list[str] = []
    with progress_line(console) as tell:
        for name, count in POOLS.items():
            tell("building", name)
            parts |= pool_parts(name, count, settings.threads)
        try:
            for name in WORLDS:
                tell("building", name)
                parts |= world_parts(name)
        except UserError as reason:
            notes.append(f"MiniWorld was not measured: {reason}")
        timed = measure(parts, settings.repeats, settings.seconds, lambda: None, tell)
    found = as_json(timed.measurements)
    median = {name: m.median for name, m in timed.measurements.items()}
    found["ratios"] = ratios(median)
    show(found, "adapters compared with the simulators alone", console)
    for name, ratio in found["ratios"].items():
        console.print(Text(f"{name:72} {ratio:6.2f}"), soft_wrap=True)
    for note in notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    path = folder / "adapters-cpu.json"
    command = command_line("adapters", words)
    given = {k: v for k, v in dataclasses.asdict(settings).items() if k != "out"}
    result = {"benchmark": "adapters", "command": command, "settings": given, **found, "notes": notes}
    write(path, result | circumstances(("envpool", "miniworld", "pyglet")))
    console.print(Text(f"written to {path}"), soft_wrap=True)
    return 0


def ratios(median: dict[str, float]) -> dict[str, float]:
    """Return the ratios of each adapter to the simulator alone, and of two workers to one process."""
    pairs = [(name, f"{name}, EnvPool alone") for name in POOLS]
    pairs += [(f"{name}, two workers", f"{name}, one process") for name in WORLDS]
    return {f"{a} / {b.partition(', ')[2]}": median[a] / median[b] for a, b in pairs if {a, b} <= median.keys()}


def pool_parts(name: str, count: int, threads: int) -> dict[str, Part]:
    """Return the parts of one pool: EnvPool's own ``step``, with pre-sampled actions, and our adapter's."""
    made = make(name, count, threads=threads)
    task = (made.parts[0][1] if isinstance(made, Alternating) else made).task  # type: ignore[attr-defined]
    made.close()
    ours = EnvPool(task, count, torch.device("cpu"), 0, threads=threads)
    return {
        f"{name}, EnvPool alone": Part(f"envpool, {count} environments", count, alone(task, count, threads)),
        name: Part(f"our adapter, {count} environments", count, stepped(ours)),
    }


def alone(task: Task, count: int, threads: int) -> Callable[[int], None]:
    """Return a function that calls EnvPool's own ``step``; our adapter only redirects the simulators' output."""
    ours = EnvPool(task, count, torch.device("cpu"), 0, threads=threads)
    ours.pool.reset()
    number: NDArray[Any] = np.random.default_rng(0).integers(len(task.actions), size=(64, count))
    actions = number.astype(np.int32) if task.buttons is None else task.buttons[number]

    def run(calls: int) -> None:
        step = ours.pool.step
        for t in range(calls):
            step(actions[t % len(actions)])

    return run


def stepped(env: VectorEnv) -> Callable[[int], None]:
    """Return a function that calls ``env.step`` into the rows of a rollout."""
    first = env.reset()
    state = AgentState((), first.task, first.reward)  # no agent acts here
    rollout = empty_rollout(env.spec, first, ROWS, state)
    rows = [rollout.row(t + 1) for t in range(ROWS)]
    actions = torch.randint(env.spec.num_actions, (64, env.num_envs), generator=torch.Generator().manual_seed(0))

    def run(calls: int) -> None:
        for t in range(calls):
            env.step(actions[t % len(actions)], rows[t % ROWS])

    return run


def world_parts(name: str) -> dict[str, Part]:
    """Return the parts of a MiniWorld task: in this process, as its users run it, and in two workers."""
    parts = {}
    for about, workers in (("one process", 0), ("two workers", 2)):
        env = make(name, COPIES, env_workers=workers)
        parts[f"{name}, {about}"] = Part(f"{about}, {COPIES} environments", COPIES, stepped(env))
    return parts
