"""Damage files of a run folder and read it back: never a traceback, never a hang.

`python tests/trials/fuzz.py --trials 6000 --evaluations 500`
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from mutations import damage, forge

import morello
from morello.__main__ import main as morello_main
from morello.envs.errors import UserError

PATIENCE_SECONDS = 120
NOBODY = 65534


class TookTooLong(BaseException):
    """Nothing that is read may wait."""


def make_run(folder: Path) -> Path:
    """A run as small as may be, with a recurrent agent, a loss beside it and an evaluation."""
    words = (
        "train a2c --env counting:steps --num-envs 2 --unroll 4 --steps 64 --log-every 16 --checkpoint-every 32 --quiet"
        " --memory lstm --memory-size 8 --threads 1 --aux.reward-prediction.weight 0.5 --replay.capacity 64"
    )
    assert morello_main([*words.split(), "--run", str(folder)]) == 0
    with contextlib.redirect_stdout(io.StringIO()):
        assert morello_main(["eval", str(folder), "--episodes", "2"]) == 0
    return folder


def commands(run: Path, out: Path) -> dict[str, tuple[int, Callable[[], object]]]:
    """Ways to read a run, and how often each is taken."""
    r = str(run)
    return {
        "load": (6, lambda: morello.load(r)),
        "read_runs": (5, lambda: morello.read_runs(r, warn=lambda message: None)),
        "resume": (4, lambda: morello_main(["train", "--run", r, "--resume", "--steps", "72", "--quiet"])),
        "eval": (3, lambda: morello_main(["eval", r, "--episodes", "2"])),
        "curves": (2, lambda: morello_main(["bench", "curves", r, "--out", str(out)])),
        "watch": (1, lambda: morello_main(["watch", r, "--seconds", "0.07", "--out", str(out / "film.mp4")])),
    }


@contextlib.contextmanager
def as_nobody(*folders: Path) -> Iterator[None]:
    """Root may read everything; so act as somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def attempt(call: Callable[[], object]) -> str | None:
    """Where it broke: the last place of ours in the traceback, and the error; None if it ended as it should."""

    def give_up(*_: object) -> None:
        raise TookTooLong

    said = io.StringIO()
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_SECONDS)
    # Where no signal gets through:
    faulthandler.dump_traceback_later(2 * PATIENCE_SECONDS, exit=True, file=sys.__stderr__)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            call()
    except UserError:
        pass
    except (Exception, TookTooLong) as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "morello" in frame.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return f"{where} {type(error).__name__}: {' '.join(str(error).split())[:120]}"
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    return "a traceback on standard error" if "Traceback" in said.getvalue() else None


def fuzz(trials: int, evaluations: int, seed: int, work: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each way was taken, and each place where it broke."""
    chance = random.Random(seed)
    work.chmod(0o755)  # nobody may come in
    good, out = make_run(work / "good"), work / "out"
    out.mkdir()
    taken: Counter[str] = Counter()
    broke: Counter[str] = Counter()
    for n in range(trials + evaluations):
        run = work / f"run{n}"
        shutil.copytree(good, run, ignore=shutil.ignore_patterns("tensorboard"))
        ways = commands(run, out)
        way = "curves" if n >= trials else chance.choices(list(ways), [w for w, _ in ways.values()])[0]
        if n >= trials:
            path = run / "evaluation.json"
        else:
            files = [p for p in run.rglob("*") if p.is_file() and p.name != "lock"]
            names = sorted({p.name for p in files})
            name = chance.choice(names)
            path = chance.choice(sorted(p for p in files if p.name == name))
        how = damage(path, chance)
        if path.parent.name.startswith("step_") and how != "other_kind" and chance.random() < 0.7:
            forge(path.parent)
        unreadable = path.is_file() and not path.stat().st_mode & 0o400
        with as_nobody(run, out) if unreadable else contextlib.nullcontext():
            fault = attempt(ways[way][1])
        taken[way] += 1
        if fault is not None:
            broke[fault] += 1
            print(f"trial {n}: {way} after {how} of {path.relative_to(run)}: {fault}", file=sys.stderr, flush=True)
        for left in run.rglob("*"):
            if left.is_file() and not left.is_symlink():
                left.chmod(0o600)
        shutil.rmtree(run)
    return taken, broke


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6000)
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="morello-fuzz-") as folder:
        taken, broke = fuzz(flags.trials, flags.evaluations, flags.seed, Path(folder))
    ways = ", ".join(f"{way} {count}" for way, count in taken.most_common())
    print(
        f"fuzz: {flags.trials} damaged files and {flags.evaluations} damaged evaluations ({ways}): "
        f"{sum(broke.values())} tracebacks or hangs at {len(broke)} places"
    )
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
