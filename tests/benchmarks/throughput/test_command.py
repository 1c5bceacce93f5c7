"""`morello bench`: what it writes, what it refuses, and its sweep."""

import json
import os

import pytest
import torch
from rich.console import Console

from morello.__main__ import main
from morello.benchmarks.throughput import command
from morello.benchmarks.throughput.tables import as_json

from ...support.throughput import ENV, TINY, B, T
from ...support.throughput import config as config  # a fixture
from ...support.throughput import no_peers as no_peers  # a fixture


def test_throughput_writes_what_it_measured(tmp_path, capsys, no_peers):
    words = [*TINY, "--device", "cpu", "--threads", "1", "--repeats", "3", "--out", str(tmp_path)]
    assert main(["bench", "throughput", *words]) == 0
    shown = capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["throughput-cpu.json"]
    found = json.loads((tmp_path / "throughput-cpu.json").read_text())

    assert set(found["parts"]) == {"environment", "acting", "learning", "torso", "training"}
    rate = {}
    for name, part in found["parts"].items():
        assert part["steps_per_call"] == T * B
        assert part["threads"] == 1
        assert len(part["seconds"]) == 3
        rates = sorted(part["calls"] * T * B / s for s in part["seconds"])
        assert sorted(part["steps_per_second"]) == pytest.approx(rates)
        assert part["median"] == pytest.approx(rates[1])
        assert part["spread"] == pytest.approx((rates[2] - rates[0]) / rates[1])
        rate[name] = rates[1]

    seconds_a_step = 1 / rate["environment"] + 1 / rate["acting"] + 1 / rate["learning"]
    expected = {
        "composed_ceiling": 1 / seconds_a_step,
        "training_of_ceiling": rate["training"] * seconds_a_step,
        "learning_of_torso": rate["learning"] / rate["torso"],
    }
    assert found["derived"] == pytest.approx(expected)
    assert f"{rate['training']:,.0f}" in shown
    assert f"{expected['composed_ceiling']:,.0f}" in shown

    asked = {"env": ENV, "num_envs": B, "unroll": T, "frame_size": [36, 37], "torso": "shallow", "repeats": 3}
    asked |= {"device": "cpu", "threads": 1, "seconds": 0.001}
    assert {k: found["settings"][k] for k in asked} == asked
    assert found["settings"]["dtype"] in ("float32", "bfloat16")
    assert found["hardware"]["cores"] == os.cpu_count()
    assert found["versions"]["torch"] == torch.__version__
    assert found["command"].startswith(f"morello bench throughput --env {ENV}")

    assert len(found["notes"]) == 2
    for note in found["notes"]:
        assert "pip install" in note
        assert note in shown


def test_a_gridworld_is_measured_without_further_flags(tmp_path, no_peers):
    words = ["--env", "minigrid:DoorKey-5x5", "--num-envs", "3", "--unroll", "2", "--seconds", "0.001"]
    words += ["--device", "cpu", "--threads", "1", "--repeats", "1", "--out", str(tmp_path)]
    assert main(["bench", "throughput", *words]) == 0
    found = json.loads((tmp_path / "throughput-cpu.json").read_text())
    assert found["parts"]["training"]["median"] > 0
    assert (found["settings"]["frame_size"], found["settings"]["torso"]) == (None, "auto")


def test_peers_can_be_left_out(tmp_path, capsys):
    words = [
        "throughput",
        *TINY,
        "--device",
        "cpu",
        "--threads",
        "1",
        "--repeats",
        "1",
        "--no-peers",
        "--out",
        str(tmp_path),
    ]
    assert main(["bench", *words]) == 0
    assert json.loads((tmp_path / "throughput-cpu.json").read_text())["notes"] == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--repeats", "0"], "--repeats"),
        (["--seconds", "0"], "--seconds"),
        (["--seconds", "nan"], "--seconds"),
        (["--num-envs", "0"], "--num-envs"),
        (["--device", "cpu", "--sweep"], "--sweep"),
        (["--env", "labyrinth:seekavoid"], "seekavoid_arena_01"),
        (["--torso", "natur"], "nature"),
    ],
)
def test_mistakes_are_one_sentence(words, hint, capsys, tmp_path):
    assert main(["bench", "throughput", "--out", str(tmp_path), *words]) == 2
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1


def test_a_folder_that_cannot_be_is_said_before_measuring(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "run", lambda *_: pytest.fail("measured first"))
    (tmp_path / "file").write_text("")
    assert main(["bench", "throughput", *TINY, "--out", str(tmp_path / "file" / "results")]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_sweep_measures_every_number_of_environments(config, monkeypatch, tmp_path):
    """Its GPU is not needed to see that."""
    monkeypatch.setattr(command, "SWEEP", (2, 5))
    settings = command.ThroughputFlags(seconds=0.001, repeats=1, peers=False, sweep=True)
    with (tmp_path / "screen").open("w+") as screen:
        found = command.run(settings, config, Console(file=screen, width=120))
    assert found["parts"]["environment"]["steps_per_call"] == T * B
    assert [point["num_envs"] for point in found["sweep"]] == [2, 5]
    for point in found["sweep"]:
        assert all(part["steps_per_call"] == T * point["num_envs"] for part in point["parts"].values())
        assert point["derived"].keys() >= {"composed_ceiling", "training_of_ceiling"}
        json.dumps(point, allow_nan=False)
    assert as_json({}) == {"parts": {}, "derived": {}}


@pytest.mark.gpu
def test_throughput_on_cuda(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "SWEEP", (5, 11))
    words = ["--device", "cuda", "--threads", "1", "--repeats", "1", "--no-peers", "--sweep", "--out", str(tmp_path)]
    assert main(["bench", "throughput", *TINY, *words]) == 0
    found = json.loads((tmp_path / "throughput-cuda.json").read_text())
    assert found["hardware"]["gpus"]
    for point in (found, *found["sweep"]):
        assert set(point["parts"]) == {"environment", "acting", "learning", "torso", "training"}
        assert all(part["median"] > 0 for part in point["parts"].values())
