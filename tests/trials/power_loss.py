"""Cut the power at any moment of training: what was not synced is gone. Then go on with --resume.

    python tests/trials/power_loss.py --trials 200

The finished checkpoints must be there, the metrics reach as far as the newest one, and the end must equal that of a
run whose power was never cut, bit for bit in all but the times. Every second trial cuts the power of a run that was
resumed. The disk is simulated: see `disk`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from disk import Disk, Event, record

from morello.agents.config.config import Config
from morello.agents.storage import checkpoint
from morello.agents.storage.run_folder import Run
from morello.agents.training.train import train

CONFIG = Config(
    env="counting:steps",
    steps=96,
    num_envs=2,
    unroll=4,
    memory="lstm",
    memory_size=8,
    log_every=8,
    checkpoint_every=24,
    threads=1,
    resume=True,
    quiet=True,
)
HALF = 48


def learn(run: Path) -> None:
    """Train, or go on training, without a word."""
    with contextlib.redirect_stderr(io.StringIO()):
        train(CONFIG, run=str(run))


def recorded(run: Path) -> tuple[Disk, list[Event]]:
    """The disk before this sitting, and what it does to it; a mark is where a checkpoint is promised to be there."""
    disk = Disk(run.parent)
    save = Run.save
    with record(run.parent) as events:

        def marked(self: Run, step: int, *more: Any, **names: Any) -> Path:
            path = save(self, step, *more, **names)
            events.append(("mark", step))
            return path

        Run.save = marked  # type: ignore[method-assign]
        try:
            learn(run)
        finally:
            Run.save = save  # type: ignore[method-assign]
    return disk, events


def records(run: Path) -> list[dict[str, Any]]:
    """Metrics without those of the clock; what a kill may leave at the end is left out."""
    path = run / "metrics.jsonl"
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            found.append({k: v for k, v in json.loads(line).items() if not k.startswith("time/")})
    return found


def state(run: Path) -> tuple[int, Any]:
    """The newest good checkpoint without its clock; (-1, None) where there is none."""
    found = checkpoint.load(run / "checkpoints", warn=lambda message: None)
    return (-1, None) if found is None else (found[0], {k: v for k, v in found[1].items() if k != "seconds"})


def same(a: Any, b: Any) -> bool:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def faults(run: Path, promised: int, whole: Path) -> list[str]:
    """What was promised of a folder after a power cut, and is not so."""
    found = []
    newest, _ = state(run)
    if newest < promised:
        found.append(f"the checkpoint of step {promised} is lost: the newest is of step {newest}")
    wanted = [r for r in records(whole) if r["step"] <= newest]
    if [r for r in records(run) if r["step"] <= newest] != wanted:
        found.append(f"metrics before the checkpoint of step {newest} are missing")
    learn(run)
    if not same(state(run), state(whole)):
        found.append("the end differs from that of the uninterrupted run")
    if records(run) != records(whole):
        found.append("the metrics differ from those of the uninterrupted run")
    return found


def cut(trials: int, seed: int, work: Path) -> tuple[int, int]:
    """Trials that kept a promise less, and in how many a checkpoint was there to go on from."""
    chance, broken, resumed = random.Random(seed), 0, 0
    (work / "begun").mkdir()
    whole = work / "begun" / "run"
    begun = recorded(whole)
    half = _copy(begun[0], work / "before")
    for event in begun[1][: begun[1].index(("mark", HALF))]:
        half.play(event)
    half.write(work / "more")
    more = recorded(work / "more" / "run")
    for n in range(trials):
        first, events = (begun, more)[n % 2]
        disk = _copy(first, work / f"{n}-before")
        at = chance.randrange(len(events) + 1)
        for event in events[:at]:
            disk.play(event)
        target = work / f"{n}"
        disk.lose_power(target, chance)
        promised = max((e[1] for e in events[:at] if e[0] == "mark"), default=HALF if n % 2 else -1)
        resumed += promised >= 0
        try:
            found = faults(target / "run", promised, whole)
        except Exception as error:  # it is a fault like any other, and the next trial is to be tried
            found = [f"{type(error).__name__}: {error}"]
        if found:
            broken += 1
            print(f"trial {n}, after {at} of {len(events)} changes: {'; '.join(found)}", file=sys.stderr, flush=True)
        shutil.rmtree(target)
    return broken, resumed


def _copy(disk: Disk, scratch: Path) -> Disk:
    """The same, to be changed: all of it is on the disk."""
    disk.write(scratch)
    copied = Disk(scratch)
    shutil.rmtree(scratch)
    return copied


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="morello-power-") as folder:
        broken, resumed = cut(flags.trials, flags.seed, Path(folder))
    print(f"power loss: {flags.trials} cuts, {resumed} of them after a checkpoint: {broken} broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
