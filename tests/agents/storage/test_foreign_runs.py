"""Run folders that somebody else made or changed: refused in a sentence, before anything is built, run or written."""

import json
import os
import sys

import gymnasium
import pytest

from morello.__main__ import main
from morello.agents.storage import checkpoint
from morello.agents.storage.run_folder import Run
from morello.agents.training.train import train
from morello.envs.errors import UserError

COUNTING = {
    "env": "counting:steps",
    "num_envs": 2,
    "unroll": 4,
    "steps": 80,
    "log_every": 16,
    "checkpoint_every": 16,
    "threads": 1,
    "quiet": True,
}


@pytest.mark.parametrize("name", ["config.json", "provenance.json", "metrics.jsonl", "lock", "evaluation.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to nothing", "ring of links"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, capsys, name, kind):
    run = tmp_path / "run"
    train("a2c", run=run, **COUNTING)
    path = run / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(tmp_path / "nothing" if kind == "link to nothing" else path)
    for words in (
        ["train", "--run", str(run), "--resume", "--steps", "96", "--quiet"],
        ["bench", "curves", str(run), "--out", str(tmp_path)],
        ["eval", str(run), "--episodes", "2"],
    ):
        code = main(words)
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert code in (0, 2)
    if name == "lock":
        with pytest.raises(UserError, match=r"cannot open the run folder .*(no regular file|link|directory)"):
            Run.open(run)


def test_metrics_without_end_are_refused_before_they_are_read(tmp_path, capsys):
    run = tmp_path / "run"
    train("a2c", run=run, **COUNTING)
    os.truncate(run / "metrics.jsonl", 2**43)  # 8 TiB of nothing, which need no room
    for words in (
        ["train", "--run", str(run), "--resume", "--steps", "96", "--quiet"],
        ["bench", "curves", str(run), "--out", str(tmp_path)],
    ):
        assert main(words) == 2
        assert "metrics.jsonl" in (said := capsys.readouterr().err)
        assert ("has no line break in its last" if words[0] == "train" else "it is larger than the") in said
    assert (run / "metrics.jsonl").stat().st_size == 2**43


@pytest.mark.parametrize("name", ["manifest.json", "tree.json", "tensors.safetensors"])
def test_a_pipe_in_a_checkpoint_is_a_broken_checkpoint(tmp_path, capsys, name):
    run = tmp_path / "run"
    train("a2c", run=run, **COUNTING)
    newest = max((run / "checkpoints").glob("step_*"))
    (newest / name).unlink()
    os.mkfifo(newest / name)
    for words in (["eval", str(run), "--episodes", "2"], ["train", "--run", str(run), "--resume", "--quiet"]):
        assert main(words) == 0
        assert "falling back to the one before" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["link to nothing", "file"])
def test_checkpoints_on_a_disk_that_is_away_are_no_reason_to_begin_anew(tmp_path, capsys, kind):
    run, away = tmp_path / "run", tmp_path / "away"
    train("a2c", run=run, **COUNTING)
    (run / "checkpoints").rename(away)
    if kind == "file":
        (run / "checkpoints").touch()
    else:
        (run / "checkpoints").symlink_to(tmp_path / "not mounted")
    before = (run / "metrics.jsonl").read_bytes()
    words = ["train", "a2c", "--env", "counting:steps", "--num-envs", "2", "--unroll", "4", "--threads", "1"]
    for command in ([*words, "--resume", "--run", str(run)], [*words, "--run", str(run)], ["eval", str(run)]):
        assert main(command) == 2
        said = "checkpoints is neither a folder nor a link to one: restore it"
        assert said in capsys.readouterr().err
    assert (run / "metrics.jsonl").read_bytes() == before
    (run / "checkpoints").unlink()
    (run / "checkpoints").symlink_to(away)
    train("a2c", run=run, resume=True, **COUNTING | {"steps": 96})
    assert checkpoint.load(away)[0] == 96


@pytest.mark.parametrize("link", ["nothing", "step_000000000900", "elsewhere"])
def test_linked_checkpoints_fall_back_and_are_pruned(tmp_path, link):
    folder = tmp_path / "checkpoints"
    for step in (100, 200):
        checkpoint.save(folder, step, {"x": step}, keep=5)
    checkpoint.save(tmp_path / "elsewhere", 900, {"x": 900}, keep=5)
    target = tmp_path / "elsewhere" / "step_000000000900" if link == "elsewhere" else folder / link
    (folder / "step_000000000900").symlink_to(target)
    messages = []
    assert checkpoint.load(folder, warn=messages.append)[0] == (900 if link == "elsewhere" else 200)
    checkpoint.save(folder, 1000, {"x": 1000}, keep=1, warn=messages.append)
    assert sorted(p.name for p in folder.iterdir()) == ["latest.json", "step_000000001000"]
    assert (tmp_path / "elsewhere" / "step_000000000900" / "tree.json").exists()  # only the link went
    assert not any("deleted" in m for m in messages)
    for step in (1000, 2000):  # and one is saved where a link lies
        (folder / "step_000000002000").unlink(missing_ok=True) if step == 1000 else None
        (folder / "step_000000002000").symlink_to(target) if step == 1000 else None
    checkpoint.save(folder, 2000, {"x": 1}, keep=1, warn=messages.append)
    assert checkpoint.load(folder) == (2000, {"x": 1})


MODULE = """
import gymnasium
if "Trusted-v0" not in gymnasium.registry:
    gymnasium.register("Trusted-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
"""


def test_a_module_that_a_run_names_is_imported_only_if_a_person_agrees(tmp_path, capsys, monkeypatch):
    (tmp_path / "store_trusted.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    run = str(tmp_path / "run")
    words = ["--num-envs", "2", "--unroll", "4", "--threads", "1", "--quiet", "--steps", "16"]
    assert main(["train", "--env", "gym:store_trusted:Trusted-v0", *words, "--run", run]) == 0
    for command in (
        ["eval", run, "--episodes", "2"],
        ["watch", run, "--seconds", "0.1"],
        ["train", "--run", run, "--resume", "--steps", "32", "--quiet"],
    ):
        del sys.modules["store_trusted"]
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "store_trusted" not in sys.modules
        assert "imports the Python module 'store_trusted'" in said
        assert "--trust" in said
        assert main([*command, "--trust"]) == 0
        assert "store_trusted" in sys.modules
    assert "trust" not in json.loads((tmp_path / "run" / "config.json").read_text())
    del sys.modules["store_trusted"]
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"trust": True}))  # a folder has no say in it
    assert main(["train", "--run", run, "--resume", "--steps", "48", "--quiet"]) == 2
    person = {"isatty": lambda self: True, "readline": lambda self: "y\n"}
    monkeypatch.setattr("sys.stdin", type("Terminal", (), person)())
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["eval", run, "--episodes", "2"]) == 0
    assert "[y/N]" in capsys.readouterr().err
    assert main(["train", "--run", run, "--resume", "--trust", "--no-quiet"]) == 0
    assert "to train longer: morello train --run " in (said := capsys.readouterr().out)
    assert "--resume --trust --steps 64" in " ".join(said.split())  # what is said to go on can be typed as it is


def test_sizes_are_compared_before_anything_is_built(tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    train("a2c", run=run, memory="lstm", memory_size=16, **COUNTING)
    config = json.loads((run / "config.json").read_text())
    monkeypatch.setattr("morello.agents.training.loop.build", lambda *_: pytest.fail("it was built"))
    image = config["spec"] | {"observation": {"image": [[4000, 4000, 3], "uint8"]}}
    for change in ({"num_envs": 2_000_000}, {"memory_size": 100_000}, {"spec": image}):
        (run / "config.json").write_text(json.dumps(config | change))
        assert main(["train", "--run", str(run), "--resume", "--steps", "96", "--quiet"]) == 2
        assert "cannot go on" in capsys.readouterr().err
        if "num_envs" not in change:
            assert main(["eval", str(run), "--episodes", "2"]) == 2
            assert "another network" in capsys.readouterr().err


def files(run):
    """Content and time of all but the lock."""
    found = [p for p in run.rglob("*") if p.is_file() and p.name != "lock"]
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


class Sized(gymnasium.Env):
    size = 4
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.observation_space = gymnasium.spaces.Box(-1, 1, (self.size,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


def test_an_environment_that_has_changed_is_refused_and_nothing_is_written(tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    gymnasium.register("Sized-v0", Sized)
    words = ["--num-envs", "2", "--unroll", "4", "--threads", "1", "--quiet", "--steps", "16"]
    assert main(["train", "--env", "gym:Sized-v0", *words, "--run", str(run)]) == 0
    before = files(run)
    monkeypatch.setattr(Sized, "size", 5)
    assert main(["train", "--run", str(run), "--resume", "--steps", "32", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "its environment had observation = " in said
    assert said.count("\n") == 1
    assert files(run) == before


@pytest.mark.parametrize("path", ["a\udcffb", "a\0b", "x" * 300])
def test_paths_that_cannot_be(tmp_path, capsys, path):
    run = str(tmp_path / path)
    for words in (
        ["train", "--env", "counting:steps", "--run", run, "--quiet", "--steps", "8", "--threads", "1"],
        ["train", "--run", run, "--resume"],
        ["eval", run],
        ["watch", run],
        ["bench", "curves", run],
        ["bench", "curves", str(tmp_path), "--out", run],
    ):
        assert main(words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
