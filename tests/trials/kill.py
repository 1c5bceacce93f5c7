"""Kill training with SIGKILL over and over, go on with --resume, and compare with a run that nobody killed.

    python tests/trials/kill.py --trials 300

A trial is a kill: by turns at any moment, at the start, in a checkpoint, in an evaluation. After each the newest
checkpoint must be there, and be no older than the last one that was finished; after a few the run is left to end, and
weights, optimiser and all other state must equal the uninterrupted run's bit for bit, its metrics in all but the times.
Most runs count (`counting:steps`), every fifth is in Labyrinth. Children are forked: see `forked`.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import forked  # before torch
import torch

from morello.agents.config.config import Config
from morello.agents.storage import checkpoint
from morello.agents.training.train import train

COUNTING = Config(
    env="counting:steps",
    steps=240,
    num_envs=3,
    unroll=5,
    frame_size=(36, 37),
    torso="shallow",
    memory="lstm",
    memory_size=8,
    log_every=30,
    eval_every=60,
    eval_episodes=6,
    checkpoint_every=45,
    threads=1,
    resume=True,
)
LABYRINTH = replace(COUNTING, env="labyrinth:my_way_home_dense", time_limit=20, eval_episodes=3)
TARGETS = ("any", "start", "checkpoint", "evaluation")
KILLS = 3
"""In a run, before it is left to end."""
PATIENCE = 120.0


def learn(config: Config, folder: Path) -> int:
    """What a child does."""
    train(config, run=str(folder))
    return 0


def wait_for(board: forked.Board, child: int, target: str, chance: random.Random, seconds: float) -> None:
    """Return at a random moment of ``target``; or when the child has ended, as it will."""
    if target == "any":
        time.sleep(chance.uniform(0, seconds))
        return
    turn = chance.randrange(3)  # which checkpoint or evaluation from here on
    doing = "nothing" if target == "start" else target
    inside, ends = False, time.monotonic() + PATIENCE
    while time.monotonic() < ends and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        entered, inside = board.doing == doing and not inside, board.doing == doing
        if entered and (turn == 0 or target == "start"):
            time.sleep(chance.uniform(0, 0.3 if target == "start" else 0.03))
            return
        turn -= entered
        time.sleep(0.0002)


def state(folder: Path) -> tuple[object, list[dict[str, object]]]:
    """All of the newest checkpoint that is not of the clock, and the metrics likewise."""
    found = checkpoint.load(folder / "checkpoints")
    tree = {k: v for k, v in found[1].items() if k != "seconds"}
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    records = [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]
    return tree, records


def same(a: object, b: object) -> bool:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="of the moments; another each time if not given")
    flags = parser.parse_args()
    seed = flags.seed if flags.seed is not None else time.time_ns() % 2**32
    chance, board, began = random.Random(seed), forked.Board(), time.monotonic()
    board.watch()
    scratch = Path(tempfile.mkdtemp(prefix="morello-kill-"))
    whole, seconds = {}, {}
    kills, runs, differences, lost, failed = dict.fromkeys(("nothing", *TARGETS[2:], "training"), 0), 0, 0, 0, 0
    while sum(kills.values()) < flags.trials:
        config = LABYRINTH if runs % 5 == 4 else COUNTING
        if config.env not in whole:
            since = time.monotonic()
            folder = scratch / f"whole-{len(whole)}"
            if forked.wait(forked.fork(lambda: learn(config, folder), str(scratch / "log")), PATIENCE) != 0:
                raise SystemExit((scratch / "log").read_text())
            whole[config.env], seconds[config.env] = state(folder), time.monotonic() - since
        folder, killed = scratch / f"run-{runs}", 0
        while True:
            board.write("nothing", -1)
            child = forked.fork(lambda: learn(config, folder), str(scratch / "log"))
            target = TARGETS[sum(kills.values()) % len(TARGETS)]
            if killed < KILLS and sum(kills.values()) < flags.trials:
                wait_for(board, child, target, chance, seconds[config.env])
                os.kill(child, signal.SIGKILL)
            code = forked.wait(child, PATIENCE)
            if code != -signal.SIGKILL:
                break
            kills[board.doing] += 1
            killed += 1
            said: list[str] = []
            found = checkpoint.load(folder / "checkpoints", warn=said.append)
            lost += (-1 if found is None else found[0]) < board.saved or any("broken" in words for words in said)
        runs += 1
        if code != 0:
            failed += 1
            print(f"run {runs} failed with code {code}:\n{(scratch / 'log').read_text()}")
        elif not all(map(same, state(folder), whole[config.env])):
            differences += 1
            print(f"run {runs} differs: {folder}")
        else:
            shutil.rmtree(folder)
    where = ", ".join(f"{count} in {name if name != 'nothing' else 'start'}" for name, count in kills.items())
    print(
        f"kill: {sum(kills.values())} kills ({where}) in {runs} runs: {differences} differences, {lost} lost "
        f"checkpoints, {failed} failures; seed {seed}, {time.monotonic() - began:.0f} s"
    )
    if differences or lost or failed:
        return 1
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
