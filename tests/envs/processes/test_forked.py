"""A forked child of a process with threads: it trains and acts on one, or is told what it cannot have."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
SECONDS = 100
"""A child that is not done by then hangs."""


def act(agent):
    seen = {"vector": torch.zeros(2, 4)}
    return agent.act(seen, agent.initial_state(2), torch.ones(2, dtype=torch.bool))[0].tolist()


def play(env):
    action = torch.zeros(env.num_envs, dtype=torch.int64)
    return [float(env.step(action).reward.sum()) for _ in range(5)]


def made(name, **options):
    import morello

    env = morello.make(name, 20, seed=1, **options)
    env.reset()
    return env


def in_child(what):
    """What ``what`` answers in a forked child, or the sentence it raises; "hangs" if nothing comes."""
    from morello.envs.errors import UserError

    ours, theirs = multiprocessing.Pipe()

    def run():
        try:
            theirs.send(what())
        except UserError as error:
            theirs.send(str(error))

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    theirs.close()
    answer = ours.recv() if ours.poll(SECONDS) else "hangs"
    child.join(SECONDS if answer != "hangs" else 0)
    ended = child.exitcode
    child.kill()
    return [answer, ended]


def script(folder):
    """The parent: it has trained on two threads, and has environments of every kind."""
    import morello

    def train(name, **more):
        options = {"env": "gym:CartPole-v1", "num_envs": 2, "unroll": 5, "steps": 100, "quiet": True, **more}
        return morello.load(morello.train("a2c", run=f"{folder}/{name}", **options).path)

    torch.set_num_threads(2)
    torch.zeros(2**20).add_(1)  # which starts torch's
    agent = train("parent")
    torch.set_num_threads(2)
    torch.zeros(2**20).add_(1)
    pool, maze = made("minigrid:Empty-5x5", threads=2), made("labyrinth:recall_left", frame_size=(5, 7), threads=2)
    workers = made("gym:CartPole-v1", env_workers=1)
    told = {
        "threads": in_child(torch.get_num_threads),
        "trains": in_child(lambda: train("child").step),
        "asks for two": in_child(lambda: train("two", threads=2).step),
        "acts": in_child(lambda: len(act(agent))),
        "pool": in_child(lambda: play(pool)),
        "pool anew": in_child(lambda: play(made("minigrid:Empty-5x5", threads=2))),
        "workers": in_child(lambda: play(workers)),
        "maze": in_child(lambda: play(maze)),
        "maze anew": in_child(lambda: play(made("labyrinth:recall_left", frame_size=(5, 7), threads=2))),
        "here": [play(pool), play(workers), play(maze), torch.get_num_threads()],
    }
    Path(folder, "told.json").write_text(json.dumps(told))


@pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self/task").exists(), reason="this is about Linux")
def test_a_forked_child_has_one_thread_and_is_told_what_it_has_not(tmp_path):
    paths = os.pathsep.join([str(ROOT), str(ROOT / ".typings"), os.environ.get("PYTHONPATH", "")])
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | {"PYTHONPATH": paths}
    command = f"from tests.envs.processes import test_forked; test_forked.script({str(tmp_path)!r})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    here_pool, here_workers, here_maze, threads = told.pop("here")
    assert threads == 2  # the parent's are untouched
    assert {name: ended for name, (_, ended) in told.items()} == dict.fromkeys(told, 0)
    answers = {name: answer for name, (answer, _) in told.items()}
    assert answers["threads"] == 1
    assert answers["trains"] == 100
    assert "1 in a forked child" in answers["asks for two"]
    assert answers["acts"] == 2
    for name, called in (("pool", "Empty-5x5"), ("workers", "CartPole-v1")):
        assert answers[name].startswith(f"{called} was made before this process was forked")
        assert "spawn" in answers[name]
    assert answers["pool anew"] == here_pool
    assert answers["maze"] == answers["maze anew"] == here_maze
    assert len(here_workers) == 5
