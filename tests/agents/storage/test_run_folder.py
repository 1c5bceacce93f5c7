"""Run folders: what they hold, one writer at a time, and tables of several."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import signal
from typing import Any

import numpy as np
import pytest
import torch

from morello.agents.config.load import load
from morello.agents.storage import checkpoint
from morello.agents.storage.config_file import read_config, spec_from_json, spec_to_json
from morello.agents.storage.run_folder import Run, default_folder
from morello.agents.storage.table import read_runs
from morello.envs.errors import UserError

from ...support.run_folders import CONFIG, SPEC, lines, python


def test_default_folder():
    folder = default_folder("gym:ALE/Pong-v5", "a2c", 17)
    assert re.fullmatch(r"runs/gym-ALE-Pong-v5/a2c/17-\d{8}-\d{6}-\d{6}", str(folder))
    assert folder != default_folder("gym:ALE/Pong-v5", "a2c", 17)  # begun in the same second


def test_a_run_is_not_written_over(tmp_path):
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        pass
    with Run.create(tmp_path, {**CONFIG, "seed": 4}, SPEC) as run:  # it had not begun
        run.log({"step": 1})
        run.metrics.events.path.mkdir(exist_ok=True)
        checkpoint.save(run.checkpoints, 5, {}, keep=1)
    for _ in range(2):
        with pytest.raises(UserError, match="already holds a run: --resume"):
            Run.create(tmp_path, CONFIG, SPEC)
    assert read_config(tmp_path)[0]["seed"] == 4
    Run.open(tmp_path).close()  # and the failures let go of the lock
    shutil.rmtree(run.checkpoints)
    for _ in range(2):
        with pytest.raises(UserError, match="whose checkpoints are gone"):
            Run.create(tmp_path, CONFIG, SPEC)
    assert lines(run) == [{"step": 1}]


@pytest.mark.parametrize("config", [None, '{"my": 1}'])
def test_what_others_keep_in_a_folder_is_left_alone(tmp_path, config):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events").write_text("precious")
    (tmp_path / "provenance.json").write_text("mine")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    with pytest.raises(UserError, match="name a new folder"):
        Run.create(tmp_path, CONFIG, SPEC)
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before


def test_a_run_that_died_before_it_had_a_config_is_begun_anew(tmp_path):
    (tmp_path / "lock").write_text("1")
    (tmp_path / ".tmp-config.json-999999999").write_text("{")
    Run.create(tmp_path, CONFIG, SPEC).close()
    assert read_config(tmp_path) == (CONFIG, SPEC)


def test_settings_that_may_change_are_kept_for_the_next_start(tmp_path):
    Run.create(tmp_path, CONFIG, SPEC).close()
    with Run.open(tmp_path) as run:
        run.update_config({"steps": 97})
        assert run.config == CONFIG | {"steps": 97}
    assert read_config(tmp_path) == (CONFIG | {"steps": 97}, SPEC)
    with pytest.raises(ValueError, match="closed"):
        run.update_config({"steps": 98})


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", '{"spec": 3}', '{"spec": {"observation": {"x": [[3], "Tensor"]}}}']
)
def test_what_is_not_a_run_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    for read in (Run.open, read_config, load):
        with pytest.raises(UserError, match=re.escape(str(tmp_path))):
            read(tmp_path)
    assert not (tmp_path / "lock").exists()


def test_a_folder_that_cannot_be_made_is_the_users_to_put_right(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make the run folder .*file"):
        Run.create(tmp_path / "file" / "run", CONFIG, SPEC)


@pytest.mark.parametrize("name", ["Tensor", "gone", 3])
def test_a_dtype_is_a_dtype(name):
    data = spec_to_json(SPEC)
    assert spec_from_json(data) == SPEC
    with pytest.raises((ValueError, TypeError)):
        spec_from_json({**data, "observation": {"vector": [[5], name]}})


def test_spec_survives_json():
    for spec in (SPEC, SPEC._replace(max_steps=101, observation={"vector": ((13,), torch.float32)})):
        assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


# One writer

HOLDER = """
import os, sys, time
from morello.agents.storage.run_folder import Run
run = Run.open(sys.argv[1])
if os.fork() == 0:
    time.sleep(60)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_one_writer_at_a_time_until_it_dies(tmp_path):
    Run.create(tmp_path, CONFIG, SPEC).close()
    other = python(HOLDER, tmp_path, start_new_session=True)
    try:
        pid = int(other.stdout.readline())
        for start in (lambda: Run.open(tmp_path), lambda: Run.create(tmp_path, CONFIG, SPEC)):
            with pytest.raises(UserError, match=f"in use by process {pid}:"):
                start()
        other.kill()  # the process it forked lives on
        other.wait()
        Run.open(tmp_path).close()
    finally:
        os.killpg(other.pid, signal.SIGKILL)
        other.communicate()


def test_the_lock_is_let_go(tmp_path):
    run = Run.create(tmp_path, CONFIG, SPEC)
    with pytest.raises(UserError, match=f"process {os.getpid()}:"):
        Run.open(tmp_path)
    run.close()
    run.close()
    for write in (lambda: run.log({"step": 1}), lambda: run.truncate_metrics(0), lambda: run.scalars(1, {})):
        with pytest.raises(ValueError, match="closed"):
            write()
    forgotten = Run.open(tmp_path)
    del forgotten
    Run.open(tmp_path).close()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    messages: list[str] = []
    Run.create(tmp_path, CONFIG, SPEC, warn=messages.append).close()
    assert "cannot be locked" in messages[0]


# Tables


@pytest.fixture
def table(tmp_path):
    """Two runs at runs/<env>/<preset>/<seed>, one begun and without records."""
    for seed, records in (
        (3, [{"step": 10, "a": 1.5}, {"step": 20, "a": math.nan, "best": 7}]),
        (4, [{"step": 10, "note": "hi", "seed": 99}]),
    ):
        with Run.create(tmp_path / "runs" / "toy-world" / "a2c" / f"{seed}", {**CONFIG, "seed": seed}, SPEC) as run:
            for record in records:
                run.log(record)
    Run.create(tmp_path / "runs" / "toy-world" / "icm" / "5", {**CONFIG, "preset": "icm"}, SPEC).close()
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "config.json").write_text("not a run's")
    return tmp_path / "runs"


def test_read_runs(table):
    columns = read_runs(f"{table}/*")
    assert list(columns) == ["run", "env", "preset", "seed", "step", "a", "best", "note"]
    assert {len(column) for column in columns.values()} == {3}
    folder = str(table / "toy-world" / "a2c")
    assert columns["run"].tolist() == [f"{folder}/3", f"{folder}/3", f"{folder}/4"]
    assert columns["env"].tolist() == ["toy:world"] * 3
    assert columns["preset"].tolist() == ["a2c"] * 3
    assert columns["note"].tolist() == ["", "", "hi"]
    for name, want in (("seed", [3, 3, 4]), ("step", [10, 20, 10])):
        assert columns[name].dtype == np.int64
        assert columns[name].tolist() == want
    for name, want in (("a", [1.5, math.nan, math.nan]), ("best", [math.nan, 7.0, math.nan])):
        assert columns[name].dtype == np.float64
        np.testing.assert_array_equal(columns[name], want)


def test_read_runs_takes_globs_folders_and_lists_and_counts_no_run_twice(table):
    folder = table / "toy-world" / "a2c"
    for pattern in (f"{table}/**", folder, [folder / "3", str(folder / "4"), f"{table}/*/a2c/[34]"]):
        assert read_runs(pattern)["seed"].tolist() == [3, 3, 4]
    odd = folder.rename(folder.with_name("a2c[3]"))  # a name that is itself a pattern
    assert read_runs(odd)["seed"].tolist() == [3, 3, 4]
    assert {k: len(v) for k, v in read_runs(table / "toy-world" / "icm").items()} == dict.fromkeys(
        ("run", "env", "preset", "seed"), 0
    )
    for pattern in (f"{table}/nothing*", table / "other", []):
        with pytest.raises(UserError, match="No run at"):
            read_runs(pattern)
