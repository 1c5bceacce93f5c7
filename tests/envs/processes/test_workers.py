"""Environments in worker processes: the same answers as in one process, and nobody's end is anybody else's."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch

import morello
from morello.envs.adapters.gymnasium import Gymnasium
from morello.envs.counting import Counting
from morello.envs.errors import BrokenEnvironmentError, UserError
from morello.envs.processes.restart_log import ATTEMPTS, derived_seed
from morello.envs.processes.serving import SIGNALS
from morello.envs.processes.workers import Workers
from morello.envs.rows import empty_rollout, empty_timestep, leaves

from ...support.gymnasium_worlds import Perilous
from ...support.processes import alive

CPU = torch.device("cpu")

WORLDS = "tests.support.gymnasium_worlds"


def faulty(fault, num_envs=2, env_workers=2, env_timeout=60.0, seed=0, **arguments):
    restart = arguments.pop("restart_envs", False)
    build = partial(Gymnasium, f"{WORLDS}:Faulty-v0", fault=fault, **arguments)
    return Workers(build, num_envs, CPU, seed, env_workers=env_workers, restart_envs=restart, env_timeout=env_timeout)


def go(env):
    return env.step(torch.zeros(env.num_envs, dtype=torch.int64))


@pytest.mark.parametrize("workers", [2, 3])
def test_answers_are_those_of_one_process(workers):
    options = {"seed": 7, "env_offset": 11}
    one = morello.make("gym:Parts-v0", 5, **options)
    several = morello.make(f"gym:{WORLDS}:Parts-v0", 5, env_workers=workers, **options)
    assert several.spec == one.spec._replace(tasks=several.spec.tasks)
    generator = torch.Generator().manual_seed(0)
    begun = one.reset(), several.reset()
    rollout = empty_rollout(several.spec, begun[1], 23, ())
    for t in range(23):
        action = torch.randint(3, (5,), generator=generator)
        here, there = one.step(action), several.step(action, out=rollout.row(t + 1))
        for name, x in leaves(here).items():
            assert torch.equal(x, leaves(there)[name]), name
        if t == 11:
            mask = torch.tensor([True, False, False, False, True])
            here, there = one.reset(seed=3, mask=mask), several.reset(seed=3, mask=mask)
            for name, x in leaves(here).items():
                assert torch.equal(x, leaves(there)[name]), name
    assert rollout.first[1:].any()
    several.close()


def test_a_caller_is_free_between_sending_and_receiving():
    a, b = (morello.make(f"gym:{WORLDS}:Parts-v0", 2, seed=s, env_workers=1) for s in (0, 1))
    a.reset()
    with pytest.raises(UserError, match="reset the environment"):
        b.send(torch.zeros(2, dtype=torch.int64))
    b.reset()
    for env in (a, b):
        env.send(torch.ones(2, dtype=torch.int64))
    with pytest.raises(UserError, match="receive the answers"):
        a.send(torch.ones(2, dtype=torch.int64))
    now = b.recv()
    assert a.recv().reward.tolist() == now.reward.tolist() == [16, 16]
    b.step(torch.ones(2, dtype=torch.int64))
    assert now.reward.tolist() == [16, 16]  # its own memory
    with pytest.raises(UserError, match="send actions"):
        a.recv()
    with pytest.raises(ValueError, match="out needs reward"):
        a.step(torch.ones(2, dtype=torch.int64), out=now._replace(reward=torch.zeros(3)))
    with pytest.raises(ValueError, match="must lie in"):
        a.step(torch.tensor([0, 3]))
    pids = [w.process.pid for w in (*a._workers, *b._workers)]
    for number in SIGNALS:  # a terminal signals to every process
        os.kill(pids[0], number)
    a.step(torch.ones(2, dtype=torch.int64))
    a.close()
    a.close()
    with pytest.raises(UserError, match="closed"):
        a.step(torch.ones(2, dtype=torch.int64))
    del b, env
    assert not any(map(alive, pids))


@pytest.mark.parametrize(
    ("fault", "timeout", "words"),
    [
        ("nan", 60, "step 2 .*not finite"),
        ("killed", 60, "step 2 .*ended by SIGKILL"),
        ("leave", 60, "step 2 .*exited with code 7"),
        ("sleep", 3, r"step 2 .*not answer within 3 seconds \(--env-timeout allows"),
    ],
)
def test_a_broken_environment_is_named(fault, timeout, words):
    env = faulty(fault, num_envs=3, env_workers=2, env_timeout=timeout, bad=2)
    env.reset()
    go(env)
    named = rf"Faulty-v0: environment 2 \(seed 2\) failed at {words}.*--restart-envs"
    with pytest.raises(BrokenEnvironmentError, match=named) as caught:
        go(env)
    assert "\n" not in str(caught.value)
    pids = [w.process.pid for w in env._workers]
    env.close()
    assert not any(map(alive, pids))


def test_every_kind_of_end_leaves_the_others_alone():
    ways, n = Perilous.WAYS, len(Perilous.WAYS)
    build = partial(Gymnasium, f"{WORLDS}:Perilous-v0")
    env = Workers(build, n, CPU, 0, env_workers=n, restart_envs=True, env_timeout=5)
    env.reset()
    go(env)
    with pytest.warns(RuntimeWarning) as said:
        now = go(env)
    words = {
        "abort": "SIGABRT",
        "leave": "exited with code 7",
        "killed": "SIGKILL",
        "sleep": "not answer within 5 seconds",
        "spin": "not answer within 5 seconds",
        "raise": "ZeroDivisionError",
        "nan": "not finite",
    }
    for i, way in enumerate(ways[1:], start=1):
        pattern = rf"environment {i} \(seed {i}\) failed at step 2 of an episode: .*{words[way]}.*recreated"
        assert sum(bool(re.search(pattern, str(w.message))) for w in said) == 1, way
    assert now.last.tolist() == [False] + [True] * (n - 1)
    assert now.reward.tolist() == [1] + [0] * (n - 1)
    assert (now.discount == 1).all()
    assert now.observation["vector"][:, 0].tolist() == [2] + [1] * (n - 1)
    assert env.restarts == [0] + [1] * (n - 1)
    assert [int(env._shared.faults[0, i]) for i in range(n)] == [0, *(derived_seed(i, 1) for i in range(1, n))]
    now = go(env)
    assert now.first.tolist() == [False] + [True] * (n - 1)
    for clock in range(1, 6):
        now = go(env)
        assert now.observation["vector"][1:, 0].tolist() == [clock] * (n - 1)
    assert now.last[1:].all()


@pytest.mark.filterwarnings("ignore:tests.support.gymnasium_worlds.Faulty-v0. environment 0")
def test_an_environment_that_was_to_begin_still_does():
    env = faulty("killed in reset", num_envs=3, env_workers=1, restart_envs=True, bad=None)
    with pytest.raises(BrokenEnvironmentError, match=rf"environment 0 .*in reset .*failed {ATTEMPTS} times"):
        env.reset()
    env = faulty("killed in reset", num_envs=3, env_workers=1, restart_envs=True, bad=1)
    with pytest.warns(RuntimeWarning, match=r"environment 1 \(seed 1\) failed in reset"):
        now = env.reset()
    assert now.first.tolist() == [True] * 3
    assert not now.last.any()
    for _ in range(2):
        go(env)
    env.reset(mask=torch.tensor([False, False, True]))
    for _ in range(3):
        now = go(env)
    assert now.last.tolist() == [True, True, False]
    os.kill(env._workers[0].process.pid, signal.SIGKILL)
    with pytest.warns(RuntimeWarning, match=r"environments 0 to 2 .*SIGKILL"):
        now = go(env)
    assert now.first.tolist() == [True, True, False]
    assert now.last.tolist() == [False, False, True]
    assert now.observation["vector"][:, 0].tolist() == [0, 0, 3]
    assert go(env).first.tolist() == [False, False, True]


def test_what_cannot_be_built_says_so():
    with pytest.raises(UserError, match=r"CartPol-v1.*did you mean CartPole"):
        morello.make("gym:CartPol-v1", 2, env_workers=1)
    with pytest.raises(UserError, match="whole number from 0"):
        morello.make("gym:CartPole-v1", 2, env_workers=-1)
    with pytest.raises(UserError, match="must have a name"):
        Workers(lambda **options: None, 2, CPU, 0, env_workers=1)
    with pytest.raises(BrokenEnvironmentError, match=r"environments 0 to 1 .*exited with code 9.*__main__"):
        Workers(leave, 2, CPU, 0, env_workers=1)


def leave(**options):
    os._exit(9)


def complain(**options):
    warnings.warn("the paint is wet", DeprecationWarning, stacklevel=2)
    warnings.warn("mind the gap", UserWarning, stacklevel=2)
    return Counting(options["num_envs"], options["device"], options["seed"], env_offset=options["env_offset"])


def test_other_environments_and_their_warnings():
    with pytest.warns(UserWarning, match="mind the gap"):
        env = Workers(complain, 3, CPU, 5, env_workers=2, env_offset=2)
    one = Counting(3, CPU, 5, env_offset=2)
    assert env.spec == one.spec._replace(resumable=False)
    one.reset()
    env.reset()
    for _ in range(12):
        here, there = go(one), go(env)
        for name, x in leaves(here._replace(info={})).items():
            assert torch.equal(x, leaves(there)[name]), name
    with pytest.raises(UserError, match="cannot be recreated"):
        Workers(complain, 2, CPU, 5, env_workers=1, restart_envs=True)


PROGRAM = f"""
import os, signal, sys, torch
import morello
if __name__ == "__main__":
    env = morello.make("gym:{WORLDS}:Perilous-v0", 2, seed=5, env_workers=2)
    env.reset()
    action = torch.zeros(2, dtype=torch.int64)
    env.step(action)
    env.send(action)  # environment 0, of seed 5, never comes back
    print(*(w.process.pid for w in env._workers), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(root), str(root / ".typings"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, timeout=300
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = done.stdout.split()
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)
    left = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    assert not [name for name in left if any(pid in name for pid in pids)]


def test_shared_rows_begin_where_cache_lines_do():
    env = morello.make(f"gym:{WORLDS}:Parts-v0", 3, env_workers=1)
    env.reset()
    for name, x in leaves(env._shared.rows).items():
        assert x.data_ptr() % 64 == 0, name
        assert x.shape == leaves(empty_timestep(env.spec, 3))[name].shape


def test_what_an_environment_starts_can_be_stopped_and_ends_with_its_worker():
    build = partial(Gymnasium, f"{WORLDS}:Unruly-v0", fault="child", bad=None)
    env = Workers(build, 2, CPU, 0, env_workers=1, env_timeout=20.0)
    env.reset()
    wait_for_sleepers(2)
    go(env)
    go(env)  # each stops its own, and waits for that
    wait_for_sleepers(0)
    env.close()
    env = Workers(build, 2, CPU, 0, env_workers=1)
    wait_for_sleepers(2)
    env.close()
    wait_for_sleepers(0)


def wait_for_sleepers(count):
    """Until so many processes run that such environments started."""
    for _ in range(200):
        found = 0
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                found += (entry / "cmdline").read_bytes() == b"sleep\x00600\x00" and alive(entry.name)
        if found == count:
            return
        time.sleep(0.05)
    raise AssertionError(f"{found} run, not {count}")


def test_who_is_slow_but_moves_is_not_taken_for_dead():
    """Four resets of 0.7 seconds each, where 1.6 may pass without a sign."""
    env = Workers(partial(Gymnasium, f"{WORLDS}:Slow-v0"), 4, CPU, 0, env_workers=1, env_timeout=1.6)
    assert env.reset().first.all()
    env.close()
