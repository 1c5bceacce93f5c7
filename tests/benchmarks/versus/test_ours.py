"""Our training, measured for a moment, and what it counts."""

import dataclasses
import os
import sys

import pytest

from morello.agents.config.config import Config
from morello.agents.config.resolve import resolve
from morello.benchmarks.versus import ours
from morello.benchmarks.versus.libraries import OURS
from morello.benchmarks.versus.turns import Turns
from morello.envs.counting import Counting


def test_ours_is_measured(tmp_path, monkeypatch):
    pytest.importorskip("envpool")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    monkeypatch.setenv("PYTHONPATH", path)
    told = []
    turns = Turns(2, 0, 0.0, 0.2, tmp_path, lambda stage, text: told.append((stage, text)))
    assert turns.measure(OURS, "", 0, "once") > 0
    assert told[0] == ("once", f"{OURS}, starting")


def test_ours_counts_each_step_once_and_stops(tmp_path, monkeypatch):
    found, taken = [], []
    step = Counting.step

    def counted(env, *arguments):
        taken.append(env.num_envs)
        return step(env, *arguments)

    def report(steps):
        found.append((steps, sum(taken)))
        return len(found) == 3

    config = resolve(Config("counting:steps", num_envs=3, unroll=5, device="cpu", steps=10**6, quiet=True, threads=1))
    monkeypatch.setattr(Counting, "step", counted)
    monkeypatch.setattr(ours, "config_of", lambda num_envs, seed, run: dataclasses.replace(config, run=run))
    monkeypatch.setattr(ours, "to_parent", lambda seconds: report)
    ours.main({"seconds": 1.0, "num_envs": 3, "seed": 0, "run": str(tmp_path / "run")})
    assert [steps for steps, _ in found] == [15, 30, 45]
    assert all(0 <= made - steps <= 15 for steps, made in found), found
