"""A run folder that is moved, deleted or taken over while it is trained."""

import json
import shutil

import pytest

from morello.agents.storage import checkpoint
from morello.agents.storage.lock import FolderMovedError
from morello.agents.storage.run_folder import Run
from morello.agents.training.train import train

from ...support.run_folders import CONFIG, SPEC

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


def at_step(step, act):
    return lambda record: act() if record["step"] == step else None


def test_a_folder_that_is_moved_is_found_saved_and_named(tmp_path):
    run, away = tmp_path / "run", tmp_path / "away"
    said = f"moved to {away} .* of step 32 was saved; go on with --resume --run {away}"
    with pytest.raises(FolderMovedError, match=said):
        train("a2c", run=run, **COUNTING, on_record=at_step(32, lambda: run.rename(away)))
    assert not run.exists()
    assert checkpoint.load(away / "checkpoints")[0] == 32
    assert [json.loads(line)["step"] for line in (away / "metrics.jsonl").read_text().splitlines()] == [16, 32]
    train("a2c", run=away, resume=True, **COUNTING)
    assert checkpoint.load(away / "checkpoints")[0] == 80


def test_a_folder_that_is_moved_behind_a_link_is_where_it_was(tmp_path):
    run, away = tmp_path / "run", tmp_path / "away"

    def move():
        run.rename(away)
        run.symlink_to(away)

    train("a2c", run=run, **COUNTING, on_record=at_step(32, move))
    assert checkpoint.load(away / "checkpoints")[0] == 80


def test_a_folder_that_is_deleted_is_said_to_be_and_not_made_again(tmp_path, capsys):
    run = tmp_path / "run"
    with pytest.raises(FolderMovedError, match="was deleted while it was trained: nothing of step 32 was saved"):
        train("a2c", run=run, **COUNTING, on_record=at_step(32, lambda: shutil.rmtree(run)))
    assert not run.exists()


def test_another_folder_in_its_place_is_left_alone(tmp_path):
    run = tmp_path / "run"

    def replace():
        shutil.rmtree(run)
        Run.create(run, CONFIG, SPEC).close()

    with pytest.raises(FolderMovedError, match="was deleted"):
        train("a2c", run=run, **COUNTING, on_record=at_step(32, replace))
    assert list((run / "checkpoints").iterdir()) == []


def test_a_lock_that_is_deleted_or_replaced_stops_the_run(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(FolderMovedError, match=r"lock of .* was deleted .* of step 32 was saved"):
        train("a2c", run=run, **COUNTING, on_record=at_step(32, (run / "lock").unlink))
    assert checkpoint.load(run / "checkpoints")[0] == 32
    others = []

    def take_over():
        (run / "lock").unlink()
        others.append(Run.open(run))

    with pytest.raises(FolderMovedError, match=r"lock of .* was replaced .*: nothing of step 48 was saved"):
        train("a2c", run=run, resume=True, **COUNTING, on_record=at_step(48, take_over))
    others[0].close()
    assert checkpoint.load(run / "checkpoints")[0] == 32


def test_a_resumed_run_says_how_many_records_are_missing(tmp_path, capsys):
    run = tmp_path / "run"
    train("a2c", run=run, **COUNTING)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[2:]))
    capsys.readouterr()
    train("a2c", run=run, resume=True, **{**COUNTING, "steps": 96})
    assert "metrics.jsonl lacks 2 of the 5 records before step 80." in capsys.readouterr().err
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [48, 64, 80, 96]


def test_paths_are_fixed_when_a_run_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Run.create("run", CONFIG, SPEC) as run:
        monkeypatch.chdir("/")
        run.log({"step": 1})
        run.save(1, {}, keep=1)
    assert run.path == tmp_path / "run"
    assert checkpoint.load(tmp_path / "run" / "checkpoints")[0] == 1
