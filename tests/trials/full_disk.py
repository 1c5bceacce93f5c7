"""Fill the disk at any moment of training, and make room again: training goes on, and so does what it writes.

    python tests/trials/full_disk.py --trials 20

Runs lie on a small file system of their own, in a mount namespace (or, where the machine allows none, in a folder whose
writes are refused as if it were one). Each is filled up at one record and, in two trials of three, emptied at a later
one. Metrics and TensorBoard must miss just what was refused, which is counted and told, and have all that came later;
checkpoints that were finished must be whole; the run must end with its last checkpoint, or say that it is not written.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from morello.agents.config.config import Config
from morello.agents.storage import checkpoint
from morello.agents.training.train import train

CONFIG = Config(
    env="counting:steps",
    steps=240,
    num_envs=2,
    unroll=4,
    memory="lstm",
    memory_size=8,
    log_every=8,
    checkpoint_every=40,
    threads=1,
    quiet=True,
    keep=3,
)
SIZE = 4 * 2**20
MOUNTED = "MORELLO_TRIAL_DISK"


class Ballast:
    """What fills a file system up to the last byte."""

    def __init__(self, disk: Path) -> None:
        self.path, self.full = disk / "ballast", False

    def fill(self) -> None:
        """Leave no room."""
        self.full = True
        if MOUNTED in os.environ:
            with contextlib.suppress(OSError), self.path.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

    def empty(self) -> None:
        """Make room."""
        self.full = False
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def refusing(ballast: Ballast) -> Iterator[None]:
    """Where there is no file system of our own: calls of ``os`` refuse what takes room, as a full one does."""
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in ("write", "mkdir")}

    def call(name: str) -> Callable[..., Any]:
        def refuse_or(target: Any, *more: Any, **names: Any) -> Any:
            where = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)
            if ballast.full and Path(where).is_relative_to(ballast.path.parent):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real[name](target, *more, **names)

        return refuse_or

    if MOUNTED in os.environ:
        yield
        return
    try:
        for name in real:
            setattr(os, name, call(name))
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def steps_of(run: Path) -> tuple[list[int], list[int]]:
    """The steps that metrics and TensorBoard have a record of."""
    lines = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return lines, [e.step for e in events.Scalars("entropy")]


def faults(disk: Path, chance: random.Random) -> list[str]:
    """Train while the disk is full for some time; what was promised, and is not so."""
    run, ballast = disk / "run", Ballast(disk)
    every = range(CONFIG.log_every, CONFIG.steps + 1, CONFIG.log_every)
    full, room = sorted(chance.sample(every, 2))
    stays_full = chance.random() < 1 / 3

    def watch(record: dict[str, Any]) -> None:
        if record["step"] == full:
            ballast.fill()
        elif record["step"] == room and not stays_full:
            ballast.empty()

    said, written = io.StringIO(), True
    try:
        with refusing(ballast), contextlib.redirect_stderr(said):
            train(CONFIG, run=str(run), on_record=watch)
    except checkpoint.CheckpointNotWritten:
        written = False
    ballast.empty()
    found = []
    newest = checkpoint.load(run / "checkpoints", warn=lambda message: found.append(message))
    assert newest is not None
    if written and newest[0] != CONFIG.steps:
        found.append(f"the run ended well, and its newest checkpoint is of step {newest[0]}")
    if newest[0] < full // CONFIG.checkpoint_every * CONFIG.checkpoint_every - CONFIG.checkpoint_every:
        found.append(f"full at step {full}, and the newest checkpoint is of step {newest[0]}")
    if not stays_full and not written:
        found.append("there was room again, and the last checkpoint was not written")
    for name, steps in zip(("metrics", "TensorBoard"), steps_of(run), strict=True):
        missing = [s for s in every if s not in steps]
        end = CONFIG.steps if stays_full else room
        if any(not full < s <= end for s in missing):
            found.append(f"{name} lack steps {missing}, and the disk was full from {full} to {end}")
        if missing and f"{len(missing)} records" not in said.getvalue():
            found.append(f"{name} lack {len(missing)} records, which was not said")
    if full + 3 * CONFIG.checkpoint_every < room and "No space left" not in said.getvalue():
        found.append("nothing was said of the full disk")
    return found


def fill(trials: int, seed: int, disk: Path) -> int:
    """Trials that broke a promise."""
    chance, broken = random.Random(seed), 0
    for n in range(trials):
        found = faults(disk, chance)
        if found:
            broken += 1
            print(f"trial {n}: {'; '.join(found)}", file=sys.stderr, flush=True)
        shutil.rmtree(disk / "run")
    return broken


def with_a_disk(words: list[str]) -> int | None:
    """The exit code of this command on a small file system; None where the machine allows none."""
    space = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    with tempfile.TemporaryDirectory(prefix="morello-full-") as folder:
        mount = f"mount -t tmpfs -o size={SIZE} tmpfs {folder}"
        if shutil.which("unshare") is None:
            return None
        if subprocess.run([*space, "sh", "-c", mount], capture_output=True, check=False).returncode:
            return None
        command = [*space, "sh", "-c", f'{mount} && exec "$0" "$@"', sys.executable, __file__, *words]
        return subprocess.run(command, env=os.environ | {MOUNTED: folder}, check=False).returncode


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    if MOUNTED not in os.environ and (code := with_a_disk(sys.argv[1:])) is not None:
        return code
    with contextlib.ExitStack() as stack:
        folder = os.environ.get(MOUNTED) or stack.enter_context(tempfile.TemporaryDirectory(prefix="morello-full-"))
        broken = fill(flags.trials, flags.seed, Path(folder))
    where = "a file system of 4 MiB" if MOUNTED in os.environ else "a folder that refuses writes"
    print(f"full disk: {flags.trials} runs on {where}: {broken} broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
