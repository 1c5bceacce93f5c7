"""Workers that are to take over from dead ones and do not get that far."""

import os
import re
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from morello.envs.adapters.gymnasium import Gymnasium
from morello.envs.errors import BrokenEnvironmentError, UserError
from morello.envs.processes.restart_log import ATTEMPTS
from morello.envs.processes.workers import Workers

from ...support.processes import alive

CPU = torch.device("cpu")


FAILS = {2: "leaves", 4: "raises", 6: "differs"}


def build(path, fails, **options):
    """Environments of which one ends its process at step 2; builds whose numbers are in ``fails`` fail in that way."""
    with Path(path).open("a") as file:
        file.write("built\n")
    how = fails.get(len(Path(path).read_text().split()))
    if how == "leaves":
        os._exit(9)
    if how == "raises":
        raise UserError("all licences are taken")
    if how == "differs":
        return Gymnasium("CartPole-v1", **options)
    return Gymnasium("tests.support.gymnasium_worlds:Faulty-v0", fault="killed", **options)


def flaky(path, fails):
    env = Workers(partial(build, str(path), fails), 2, CPU, 0, env_workers=1, restart_envs=True)
    env.reset()
    go(env)
    return env


def go(env):
    return env.step(torch.zeros(2, dtype=torch.int64))


def test_a_worker_that_cannot_take_over_is_started_again(tmp_path):
    env = flaky(tmp_path / "builds", FAILS)
    for died, (whose, words) in enumerate(
        [
            (r"environment 1 \(seed 1\) failed at step 2 ", "exited with code 9"),
            ("environments 0 to 1 .*SIGKILL", "all licences are taken"),
            ("environments 0 to 1 .*SIGKILL", "different observations"),
        ]
    ):
        if died:
            os.kill(env._workers[0].process.pid, signal.SIGKILL)
        with pytest.warns(RuntimeWarning) as said:
            now = go(env)
        told = [str(w.message) for w in said]
        assert len(told) == 2
        assert re.search(whose, told[0])
        assert re.search(f"environments 0 to 1 .*no worker could take over: .*{words}", told[1])
        assert "__main__" not in told[1]  # the script is not at fault: it has started workers before
        assert now.last.tolist() == [True, True]
        assert now.reward.tolist() == [0, 0]
        assert env.restarts == [2 * died + 2] * 2
        assert go(env).first.tolist() == [True, True]  # a completed step: deaths are counted anew
        assert go(env).observation["vector"][:, 0].tolist() == [1, 1]
    env.close()


@pytest.mark.filterwarnings("ignore:.*recreated with all of its process")
def test_there_is_a_limit_to_that(tmp_path):
    builds = tmp_path / "builds"
    env = flaky(builds, dict.fromkeys(range(2, 99), "leaves"))
    with pytest.raises(BrokenEnvironmentError, match=rf"no worker could take over.*\({ATTEMPTS} times") as caught:
        go(env)
    assert "\n" not in str(caught.value)
    assert len(builds.read_text().split()) == ATTEMPTS
    assert not any(alive(w.process.pid) for w in env._workers)
    with pytest.raises(UserError, match="closed"):
        go(env)
