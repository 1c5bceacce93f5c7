"""`morello bench learning`: the order of runs, what is kept and repeated, and what is written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from morello.__main__ import main
from morello.benchmarks.learning import child, command, process
from morello.benchmarks.learning.settings import read

from ...support.processes import alive

ENV = "labyrinth:seekavoid_arena_01"
SIZE = f"--env {ENV} --num-envs 4 --unroll 5 --frame-size 36 36 --torso shallow --dtype float32".split()


def words(tmp_path, *more):
    return ["bench", "learning", "a2c", *SIZE, "--out", str(tmp_path), "--work", str(tmp_path / "work"), *more]


def written(tmp_path):
    return json.loads((tmp_path / "bench-learning-labyrinth-seekavoid_arena_01-a2c.json").read_text())


@pytest.fixture
def scripted(monkeypatch):
    """Runs that need no training: the return rises by 1 per 100 steps, in ours, and half as fast in the peer's; seed 1
    is 40 steps late. Returns the runs made.
    """
    made = []

    def make(path, words, imports, agent, seed, threads, tell):
        made.append((agent, seed))
        tell("on its way")
        step = list(range(10, 1001, 10))
        slope = 0.01 if agent == "ours" else 0.005
        late = 40 * (seed == 1)
        run = {
            "step": step,
            "seconds": [s / (50 if agent == "ours" else 25) for s in step],
            "return": [(s - late) * slope for s in step],
            "steps": 1000,
            "took_seconds": 20.0 if agent == "ours" else 40.0,
            "took_cpu_seconds": 10.0,
            "started": "2026-01-01T00:00:00+00:00",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run))
        return run

    monkeypatch.setattr(process, "make", make)
    monkeypatch.setattr("morello.benchmarks.learning.peers.find_spec", lambda name: name)
    return made


def test_agents_take_turns_and_the_record_says_what_was_reached(tmp_path, scripted, capsys):
    more = ["--seeds", "3", "--steps", "1000", "--window", "10", "--returns", "2.5", "4.8", "9.9", "12"]
    assert main(words(tmp_path, *more)) == 0
    assert scripted == [(agent, seed) for seed in (0, 1, 2) for agent in ("ours", "peer")]
    record = written(tmp_path)
    low, middle, high, never = record["returns"]
    assert low["ours"]["steps"] == {"median": 250, "low": 250, "high": 290}
    assert low["ours"]["seconds"] == {"median": 5.0, "low": 5.0, "high": 5.8}
    assert low["peer"]["steps"] == {"median": 500, "low": 500, "high": 540}
    assert low["peer_over_ours"] == {"steps": 2.0, "seconds": 4.0}
    assert middle["peer"]["steps"] == {"median": 960, "low": 960, "high": 1000}
    assert (high["ours"]["reached"], high["ours"]["seeds"]) == (2, 3)
    assert high["ours"]["steps"] == {"median": 990, "low": 990, "high": None}
    assert high["peer"]["steps"]["median"] is None
    assert high["peer_over_ours"] == never["peer_over_ours"] == {"steps": None, "seconds": None}
    for agent in ("ours", "peer"):
        assert [run["seed"] for run in record["runs"][agent]] == [0, 1, 2]
        assert record["runs"][agent][1]["curve"]["step"][-1] == 1000
        assert len(record["runs"][agent][1]["curve"]["mean"]) == 100
    assert record["settings"]["ours"]["learner"]["gamma"] == record["settings"]["peer"]["gamma"] == 0.99
    assert record["settings"]["ours"]["threads"] == 1
    assert record["command"].startswith("morello bench learning a2c --env")
    assert {"commit", "hardware", "versions"} <= record.keys()
    assert (tmp_path / "bench-learning-labyrinth-seekavoid_arena_01-a2c.png").stat().st_size > 5000
    out = capsys.readouterr().out
    assert "250 (250 - 290)" in out
    assert "990 (990 - never)" in out
    assert "2.00" in out
    assert "50 steps/s, 100 steps per CPU second" in out


def test_finished_runs_are_not_repeated(tmp_path, scripted, capsys):
    assert main(words(tmp_path, "--seeds", "2", "--steps", "1000", "--window", "10")) == 0
    assert len(scripted) == 4
    scripted.clear()
    assert main(words(tmp_path, "--seeds", "3", "--steps", "1000", "--window", "20", "--returns", "3")) == 0
    assert scripted == [("ours", 2), ("peer", 2)]
    assert "4 of 6 runs were finished before" in capsys.readouterr().out
    scripted.clear()
    assert main(words(tmp_path, "--steps", "1000", "--window", "10", "--gamma", "0.9", "--seeds", "1")) == 0
    assert scripted == [("ours", 0), ("peer", 0)]  # other settings
    (path,) = (tmp_path / "work").glob("*/ours-2.json")
    path.write_text("{")
    assert main(words(tmp_path, "--seeds", "3", "--steps", "1000", "--window", "20")) == 2
    assert "delete it" in capsys.readouterr().err


def test_a_run_belongs_to_its_code(tmp_path, monkeypatch):
    config, root = read(words(tmp_path, "--steps", "1000", "--window", "9", "--peers", "none")[2:]).config, tmp_path
    own = tmp_path / "own.py"
    own.write_text("a = 1\n")
    found = [process.work_folder(root, config, "a2c", imports) for imports in ([], [str(own)])]
    own.write_text("a = 2\n")
    found.append(process.work_folder(root, config, "a2c", [str(own)]))
    monkeypatch.setattr(process, "CODE", ("agents",))
    found.append(process.work_folder(root, config, "a2c", []))
    assert len(set(found)) == 4
    monkeypatch.undo()
    assert process.work_folder(root, config, "a2c", []) == found[0]


def test_ours_alone(tmp_path, scripted, monkeypatch):
    monkeypatch.setattr("morello.benchmarks.learning.peers.find_spec", lambda name: None)
    more = ["--seeds", "1", "--steps", "1000", "--window", "10", "--returns", "5"]
    assert main(words(tmp_path, *more)) == 2
    assert main(words(tmp_path, *more, "--peers", "none")) == 0
    assert scripted == [("ours", 0)]
    record = written(tmp_path)
    assert record["returns"][0].keys() == {"return", "ours"}
    assert record["runs"].keys() == record["settings"].keys() == {"ours"}


def test_smoke_is_the_arena_and_may_be_changed():
    bench = read(["--smoke", "--peers", "none"])
    config = bench.config
    assert (config.env, config.frame_size, config.num_envs, config.unroll) == (ENV, (32, 64), 32, 10)
    assert (config.learner.gamma, config.learner.entropy_cost, config.learner.learning_rate) == (0.97, 0.006, 0.0015)
    assert config.learner.constant_rate
    assert (config.steps, bench.flags.seeds, config.threads) == (150_000, 1, 1)
    changes = {"steps": "60000", "gamma": "0.5", "seeds": "2", "seed": "7", "unroll": "3", "peers": "none"}
    bench = read(["a2c", "--smoke", *(word for k, v in changes.items() for word in (f"--{k}", v))])
    assert (bench.config.steps, bench.config.learner.gamma, bench.config.unroll) == (60_000, 0.5, 3)
    assert list(bench.runs()) == [("ours", 7), ("ours", 8)]


def test_settings_that_follow_the_unroll_do_so_here_too():
    asked = ["unreal", *SIZE, "--peers", "none", "--unroll", "8"]
    assert read(asked).config.aux["reward_prediction"].weight == 1 / 8


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--run", "runs/x"], "--run is not for"),
        (["--eval-every", "100"], "--eval-every is not for"),
        (["--seeds", "0"], "--seeds"),
        (["--window", "3000000"], "--window must be at most"),
        (["--no-such-flag"], "--no-such-flag"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, scripted, capsys, wrong, said):
    assert main(words(tmp_path, *wrong)) == 2
    assert said in capsys.readouterr().err
    assert scripted == []


def test_a_failed_run_is_reported(tmp_path, monkeypatch, capsys):
    def make(*arguments):
        raise process.RunFailedError("ours, seed 0: it became non-finite.")

    monkeypatch.setattr(process, "make", make)
    assert main(words(tmp_path, "--peers", "none", "--steps", "1000", "--window", "10")) == 1
    assert "non-finite" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json"))


def test_a_run_of_changed_code_is_not_mixed_with_the_others(tmp_path):
    asked = words(tmp_path, "--peers", "none", "--steps", "1000", "--window", "10")[2:]
    said = []
    job = {
        "words": asked,
        "imports": [],
        "agent": "ours",
        "seed": 0,
        "path": str(tmp_path / "of-before" / "ours-0.json"),
    }
    assert child.main(job, lambda *line: said.append(line)) == 1
    assert said == [("failed", "the code has changed since the command began; run it again.")]
    assert not list(tmp_path.glob("*/*"))


def test_imported_files_are_known(tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text("")
    before = set(command.imported())
    assert main(["--import", str(file), "list", "presets"]) == 0
    assert set(command.imported()) - before == {str(file)}


def test_both_agents_train_in_processes_of_their_own(tmp_path, capsys):
    pytest.importorskip("stable_baselines3")
    more = ["--seeds", "1", "--steps", "2600", "--window", "1200", "--returns", "-100", "1000"]
    assert main(words(tmp_path, *more)) == 0
    record = written(tmp_path)
    for agent in ("ours", "peer"):
        (run,) = record["runs"][agent]
        assert 2600 - 8 <= run["steps"] <= 2600 + 64 * 4  # whole rollouts, less the rows that cross a reset
        assert run["episodes"] == 8  # of 300 steps, in four environments
        assert run["took_seconds"] > 0
        assert run["curve"]["step"] == [1200, 2400]
    first, never = record["returns"]
    assert first["ours"]["steps"]["median"] == first["peer"]["steps"]["median"] == 1200
    assert never["ours"]["reached"] == never["peer"]["reached"] == 0
    assert not list((tmp_path / "work").glob("*/*.log"))


def test_a_child_refuses_what_its_parent_could_not_see(tmp_path, capsys):
    """An environment that shows no image, which is known only once it is built."""
    pytest.importorskip("stable_baselines3")
    asked = ["bench", "learning", "a2c", "--env", "gym:CartPole-v1", "--num-envs", "2", "--unroll", "3", "--seeds", "1"]
    asked += ["--steps", "60", "--window", "20", "--out", str(tmp_path), "--work", str(tmp_path / "work")]
    assert main(asked) == 2
    assert "images alone" in capsys.readouterr().err
    (kept,) = (tmp_path / "work").glob("*/*.json")
    assert kept.name == "ours-0.json"


def test_ctrl_c_ends_the_run_that_is_being_made(tmp_path):
    asked = words(tmp_path, "--peers", "none", "--steps", "100000000", "--window", "10")
    process = subprocess.Popen([sys.executable, "-m", "morello", *asked], stdout=subprocess.DEVNULL)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end, found = time.monotonic() + 60, []
        while time.monotonic() < end and not (found := children.read_text().split()):
            time.sleep(0.1)
        (child,) = found
        time.sleep(1)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT
        assert not alive(int(child))
        assert not list((tmp_path / "work").glob("*/*.json"))
    finally:
        process.kill()
        process.wait()
