"""``morello bench throughput``: steps per second of every part of training, compared with alternatives."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import torch
from rich.console import Console
from rich.text import Text

from ...agents.config.config import Config
from ...agents.config.devices import resolve_device
from ...agents.config.resolve import resolve
from ...backbones import MEMORIES, TORSOS
from ...envs.errors import UserError
from ...flags import parse
from ..progress_line import progress_line
from ..records import circumstances, command_line, output_folder, write
from ..timing import Part, Tell, measure
from . import peers, plugins
from .stages import own_parts
from .tables import as_json, show, show_sweep

SWEEP = (1024, 2048, 4096, 8192, 16384)
"""Numbers of environments measured by --sweep."""

LONG = 10**12
"""Budget in steps that no benchmark comes near, so that the learning rate stays constant."""


@dataclass(frozen=True)
class ThroughputFlags:
    """Measure steps per second of the environment, acting, learning and training, in one process: medians of
    interleaved repeats. Writes throughput-cpu.json or throughput-cuda.json.
    """

    env: str = "labyrinth:seekavoid_arena_01"
    """Environment as family:name."""
    num_envs: int | None = None
    """Number of parallel environments; by default 64 on a CPU and 1,024 on a GPU."""
    unroll: int = 20
    """Number of steps of each environment in a rollout."""
    frame_size: tuple[int, int] | None = None
    """Height and width of images. If not given: the environment family's own, 84x84 for Labyrinth."""
    torso: Literal["auto", *TORSOS] = "auto"  # type: ignore[valid-type]
    """Network that encodes one observation; auto is the one that training chooses, the Nature CNN for 84x84."""
    memory: Literal[*MEMORIES] = "none"  # type: ignore[valid-type]
    """Memory module: none, LSTM, GRU, causal convolution or transformer."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto is cuda if available, else cpu."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the torso; auto is bfloat16 where the hardware supports it."""
    threads: int | None = None
    """Number of CPU threads; by default as in training, one per core but for MiniGrid."""
    repeats: int = 5
    """Number of times each part is measured."""
    seconds: float = 3.0
    """Length of one measurement in seconds."""
    peers: bool = True
    """Also measure MiniWorld and Stable-Baselines3, where they are installed."""
    sweep: bool = False
    """On a GPU, also measure 1,024 to 16,384 environments."""
    aux: tuple[str, ...] = ()
    """Measure only training, without and with each of these auxiliary losses; all is every loss."""
    intrinsic: tuple[str, ...] = ()
    """Measure only training, without and with each of these intrinsic rewards; all is every reward."""
    out: str = "benchmarks/results"
    """Folder in which the result is written."""


def main(words: list[str]) -> int:
    """Measure, print and write the results; raise UserError for invalid arguments."""
    settings = parse(ThroughputFlags, words, "morello bench throughput")
    config = _config(settings)
    folder = output_folder(settings.out)
    console = Console()
    found = run(settings, config, console)
    found["command"] = command_line("throughput", words)
    kind = "throughput-aux" if settings.aux else "throughput-intrinsic" if settings.intrinsic else "throughput"
    path = folder / f"{kind}-{torch.device(config.device).type}.json"
    write(path, found)
    console.print(Text(f"written to {path}"), soft_wrap=True)
    return 0


def run(settings: ThroughputFlags, config: Config, console: Console) -> dict[str, Any]:
    """Measure with ``settings`` and their resolved ``config``, print tables, and return the results as JSON."""
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    synchronize = _synchronizer(config)
    notes: list[str] = []
    with progress_line(console) as tell:
        tell("building", "")
        if settings.aux:
            parts = plugins.loss_parts(config, plugins.names_of("aux", settings.aux))
        elif settings.intrinsic:
            parts = plugins.reward_parts(config, plugins.names_of("intrinsic", settings.intrinsic))
        else:
            parts = own_parts(config) | (_peers(config, notes) if settings.peers else {})
        timed = measure(parts, settings.repeats, settings.seconds, synchronize, tell)
        del parts
    notes += timed.notes
    found = as_json(timed.measurements)
    title = f"{config.env}, {config.num_envs} environments x {config.unroll} steps, {config.dtype}"
    if settings.aux or settings.intrinsic:
        found["overhead"] = plugins.overheads(found["parts"])
        plugins.show(found, title, console)
    else:
        show(found, title, console)
    if settings.sweep:
        with progress_line(console) as tell:
            found["sweep"] = [_point(settings, config, n, synchronize, tell, notes) for n in SWEEP]
        show_sweep(found["sweep"], console)
    for note in notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    return {
        "benchmark": "throughput",
        "unit": "environment steps per second; seconds are wall-clock",
        "started": started,
        "took_seconds": time.perf_counter() - began,
        "settings": _described(settings, config),
        **found,
        "notes": notes,
        **circumstances(("stable_baselines3", "miniworld", "pyglet")),
    }


def _config(settings: ThroughputFlags) -> Config:
    """Return the settings as ``morello train`` would resolve them."""
    if settings.repeats < 1 or not 0 < settings.seconds < float("inf"):
        raise UserError("--repeats must be at least 1 and --seconds more than 0.")
    device = resolve_device(settings.device)
    if settings.sweep and device.type != "cuda":
        raise UserError(f"--sweep measures {SWEEP[0]:,} to {SWEEP[-1]:,} environments on a GPU; this is a CPU.")
    chosen = [flag for flag in ("sweep", "aux", "intrinsic") if getattr(settings, flag)]
    if len(chosen) > 1:
        raise UserError(f"--{chosen[0]} and --{chosen[1]} cannot be combined: leave one of them out.")
    plugins.names_of("aux", settings.aux)
    plugins.names_of("intrinsic", settings.intrinsic)
    shared = {f.name for f in dataclasses.fields(Config)} & {f.name for f in dataclasses.fields(ThroughputFlags)}
    shared -= {"aux", "intrinsic"}
    values = {name: getattr(settings, name) for name in shared}
    values["num_envs"] = settings.num_envs if settings.num_envs is not None else 64 if device.type == "cpu" else 1024
    return resolve(Config(**values, steps=LONG))


def _described(settings: ThroughputFlags, config: Config) -> dict[str, Any]:
    """Return the settings as they were resolved."""
    given = dataclasses.asdict(settings)
    return {k: getattr(config, k, v) for k, v in given.items() if k != "out"}


def _peers(config: Config, notes: list[str]) -> dict[str, Part]:
    """Return the peers that can be measured here; add a line to ``notes`` for each that cannot."""
    found = {}
    for name, build in (("miniworld", peers.miniworld), ("stable_baselines3", peers.stable_baselines3)):
        try:
            found[name] = build(config)
        except peers.UnavailableError as reason:
            notes.append(str(reason))
    return found


def _point(
    settings: ThroughputFlags,
    config: Config,
    num_envs: int,
    synchronize: Callable[[], None],
    tell: Tell,
    notes: list[str],
) -> dict[str, Any]:
    """Measure one number of environments of the sweep, without peers."""
    gc.collect()  # frees graphs and rollouts of the previous point
    torch.cuda.empty_cache()
    try:
        parts = own_parts(dataclasses.replace(config, num_envs=num_envs))
    except torch.OutOfMemoryError:
        notes.append(f"{num_envs:,} environments: not enough GPU memory.")
        return {"num_envs": num_envs, **as_json({})}

    def say(stage: str, part: str) -> None:
        tell(f"{num_envs:,} environments, {stage}", part)

    timed = measure(parts, settings.repeats, settings.seconds, synchronize, say)
    notes += [f"{num_envs:,} environments, {note}" for note in timed.notes]
    return {"num_envs": num_envs, **as_json(timed.measurements)}


def _synchronizer(config: Config) -> Callable[[], None]:
    """Return a function that waits until the device has finished its work."""
    if torch.device(config.device).type == "cpu":
        return lambda: None
    return lambda: torch.cuda.synchronize(config.device)
