"""Ask commands to stop, by every signal and wherever they may be, and see how they end.

    python tests/trials/signals.py --rounds 3

A trial sends one of SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 to `morello train` in training, in an evaluation, in
the film of an evaluation or in a checkpoint, or to `morello watch`, at a random moment; a round is all 25. What
is interrupted is made to last: rollouts of 9 s, evaluations of hours, 0.1 s a picture, a disk that syncs in 50 ms.
Within 10 s the process must have ended, with 128 + signal and without a traceback, and training with a checkpoint of
the step it says it stopped at. Children are forked: see `forked`.
"""

import argparse
import os
import random
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import forked  # before NumPy
import gymnasium
import numpy as np

from morello.__main__ import main as morello
from morello.agents.storage import checkpoint
from morello.agents.video import film

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
SECONDS = 10.0
PATIENCE = 120.0
TRAIN = ["train", "a2c", "--env", "gym:Treadmill-v0", "--steps", "1000000", "--num-envs", "3", "--threads", "1"]
OPTIONS = {
    "training": ["--unroll", "3000"],
    "evaluation": ["--unroll", "5", "--eval-every", "15", "--eval-episodes", "1000000"],
    "film": ["--unroll", "5", "--eval-every", "15", "--eval-episodes", "3", "--eval-video"],
    "checkpoint": ["--unroll", "5", "--checkpoint-every", "15"],
}


class Treadmill(gymnasium.Env):
    """A millisecond a step, ten steps an episode."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return self.observation_space.low, {}

    def step(self, action):
        time.sleep(0.001)
        self.age += 1
        return self.observation_space.high, float(action), self.age == 10, False, {}


gymnasium.register("Treadmill-v0", entry_point=Treadmill)


def slow_down(board: forked.Board) -> None:
    """A slow disk, and slow pictures; `watch` tells when it films."""
    sync, frames = os.fsync, film.frames

    def slow(file: int) -> None:
        time.sleep(0.05)
        sync(file)

    def telling(*arguments, **more):
        with board.during("watch" if board.doing == "nothing" else board.doing):
            for frame in frames(*arguments, **more):
                time.sleep(0.1)
                yield frame

    os.fsync, film.frames = slow, telling


def trial(where: str, number: int, board: forked.Board, folder: Path, chance: random.Random) -> tuple[float, str]:
    """The seconds it took to stop, and what was wrong."""
    run, log = folder / "run", folder / "log"
    words = (
        ["watch", str(folder / "film"), "--episodes", "100"]
        if where == "watch"
        else [*TRAIN, *OPTIONS[where], "--run", str(run)]
    )
    board.write("nothing", -1)

    def work() -> int:
        slow_down(board)
        return morello(words)

    child = forked.fork(work, str(log))
    ends = time.monotonic() + PATIENCE
    turn, inside = 1, False
    if where in ("checkpoint", "training"):  # any of the first three; after the first
        turn = 2 if where == "training" else chance.randrange(1, 4)
    while turn and time.monotonic() < ends:
        entered, inside = board.doing == where and not inside, board.doing == where
        turn -= entered
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.2 if where == "checkpoint" else 1.0))
    at = board.doing
    os.kill(child, number)
    sent = time.monotonic()
    code, took = forked.wait(child, 3 * SECONDS), time.monotonic() - sent
    if code is None:
        os.kill(child, signal.SIGKILL)
        forked.wait(child, PATIENCE)
    said = log.read_text()
    problems = [f"exit code {code}"] if code != 128 + number else []
    problems += [f"{took:.1f} s"] if took > SECONDS else []
    problems += ["a traceback"] if "Traceback" in said else []
    problems += [f"in {at}"] if at != where else []
    if where == "watch":
        problems += ["something is left"] if sorted(p.name for p in (folder / "film" / "videos").iterdir()) else []
    else:
        stopped = re.search(r"stopped by (\w+) at step ([\d,]+); to go on: ", said)
        found = checkpoint.load(run / "checkpoints")
        if stopped is None or stopped[1] != signal.Signals(number).name:
            problems.append("it does not say where it stopped")
        elif found is None or found[0] != int(stopped[2].replace(",", "")):
            problems.append(f"checkpoint {found and found[0]}, not {stopped[2]}")
    if problems:
        print(f"{signal.Signals(number).name} in {where}: {', '.join(problems)}\n{said}")
    shutil.rmtree(run, ignore_errors=True)
    return took, ", ".join(problems)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="of 25 trials")
    parser.add_argument("--signals", type=int, default=len(SIGNALS), help="the first so many of them")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; another each time if not given")
    flags = parser.parse_args()
    seed = flags.seed if flags.seed is not None else time.time_ns() % 2**32
    chance, board, began = random.Random(seed), forked.Board(), time.monotonic()
    board.watch()
    folder = Path(tempfile.mkdtemp(prefix="morello-signals-"))
    film = [*TRAIN, "--unroll", "5", "--run", str(folder / "film"), "--steps", "15"]
    if forked.wait(forked.fork(lambda: morello(film), str(folder / "log")), PATIENCE) != 0:
        raise SystemExit((folder / "log").read_text())
    trials = [(w, n) for _ in range(flags.rounds) for w in (*OPTIONS, "watch") for n in SIGNALS[: flags.signals]]
    took, wrong = zip(*(trial(where, number, board, folder, chance) for where, number in trials), strict=True)
    failures = sum(map(bool, wrong))
    print(
        f"signals: {len(trials)} signals ({flags.signals} kinds in {', '.join((*OPTIONS, 'watch'))}): "
        f"{failures} failures, stopped within {max(took):.1f} s; seed {seed}, {time.monotonic() - began:.0f} s"
    )
    if failures:
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
