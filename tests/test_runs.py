"""Run folders: one writer, metrics that outlive kills and full disks, tables, and agents read back."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import morello
from morello.agents import checkpoint, metrics, provenance
from morello.agents.model import ActorCritic
from morello.agents.runs import Run, default_folder, load, read_config, read_runs, spec_from_json, spec_to_json
from morello.envs.errors import UserError
from morello.envs.experience import Spec

SPEC = Spec(
    observation={"image": ((67, 71, 3), torch.uint8), "vector": ((5,), torch.float32)},
    num_actions=7,
    action_names=tuple("abcdefg"),
    tasks=("one", "two"),
    frames_per_step=4,
    max_steps=None,
    resumable=True,
)
CONFIG = {
    "env": "toy:world", "preset": "a2c", "seed": 3, "torso": "auto", "memory": "lstm", "memory_size": 11,
    "dtype": "float32", "frame_size": [67, 71], "learner": {"gamma": 0.99, "clip": math.inf, "sign": None},
}  # fmt: skip


def lines(run: Run | Path) -> list[dict[str, Any]]:
    path = run.path if isinstance(run, Run) else run
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def python(program: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


# The folder


def test_default_folder():
    folder = default_folder("gym:ALE/Pong-v5", "a2c", 17)
    assert re.fullmatch(r"runs/gym-ALE-Pong-v5/a2c/17-\d{8}-\d{6}-\d{6}", str(folder))
    assert folder != default_folder("gym:ALE/Pong-v5", "a2c", 17)  # begun in the same second


def test_a_new_run_says_what_it_is_and_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setattr(sys, "argv", ["morello", "train", "a b"])
    with Run.create(tmp_path / "x" / "y", CONFIG, SPEC) as run:
        assert run.changes == []
        assert run.checkpoints.is_dir()
        assert run.videos.is_dir()
    assert read_config(run.path) == (CONFIG, SPEC)
    assert (run.config, run.spec) == (CONFIG, SPEC)
    (start,) = json.loads((run.path / "provenance.json").read_text())["starts"]
    assert start["command"] == "morello train 'a b'"
    assert start["job"]["SLURM_JOB_ID"] == "4711"
    assert start["versions"]["morello"] == morello.__version__
    assert start["versions"]["torch"] == torch.__version__.partition("+")[0] or torch.__version__
    assert start["hardware"]["threads"] == torch.get_num_threads()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", start["started"])
    assert os.uname().nodename not in json.dumps({**start, "git": None})


def test_every_start_is_recorded_and_changes_are_told(tmp_path, monkeypatch):
    Run.create(tmp_path, CONFIG, SPEC).close()
    real = provenance.hardware()
    monkeypatch.setattr(provenance, "hardware", lambda: {**real, "threads": 97, "cpu": "abacus"})
    with Run.open(tmp_path) as run:
        assert run.changes == [f"cpu: {real['cpu']} -> abacus", f"threads: {real['threads']} -> 97"]
    with Run.open(tmp_path) as run:
        assert run.changes == []
    starts = json.loads((tmp_path / "provenance.json").read_text())["starts"]
    assert [s["hardware"]["threads"] for s in starts] == [real["threads"], 97, 97]


def test_the_checkout_is_recorded_with_its_changes(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.check_output(["git", *identity, *arguments], cwd=tmp_path, text=True).strip()

    assert provenance.checkout(tmp_path) is None
    git("init", "-q")
    assert provenance.checkout(tmp_path) is None  # no commit yet
    (tmp_path / "f").write_text("before\n")
    git("add", "f")
    git("commit", "-qm", "m")
    assert provenance.checkout(tmp_path) == {"commit": git("rev-parse", "HEAD"), "diff": ""}
    (tmp_path / "f").write_text("after\n")
    assert "-before\n+after\n" in provenance.checkout(tmp_path)["diff"]
    (tmp_path / "sub").mkdir()
    assert provenance.checkout(tmp_path / "sub") is not None
    assert provenance.checkout(tmp_path / "sub", root=True) is None  # someone else's repository around ours
    (tmp_path / "f").write_text("long\n" * 100_000)
    diff = provenance.checkout(tmp_path)["diff"]
    assert len(diff) < provenance.LONGEST_DIFF + 100
    assert diff.endswith("more characters]")
    monkeypatch.setenv("PATH", "")
    assert provenance.checkout(tmp_path) is None


def test_a_run_is_not_written_over(tmp_path):
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        pass
    with Run.create(tmp_path, {**CONFIG, "seed": 4}, SPEC) as run:  # it had not begun
        run.log({"step": 1})
        run.metrics.events.mkdir(exist_ok=True)
    for _ in range(2):
        with pytest.raises(UserError, match="already holds a run"):
            Run.create(tmp_path, CONFIG, SPEC)
    with Run.create(tmp_path, CONFIG, SPEC, restart=True) as run:  # begun, but with nothing to go on from
        run.log({"step": 2})
        assert lines(run) == [{"step": 2}]
        checkpoint.save(run.checkpoints, 5, {}, keep=1)
    assert read_config(tmp_path)[0]["seed"] == 3
    for restart in (False, True):
        with pytest.raises(UserError, match="--resume"):
            Run.create(tmp_path, CONFIG, SPEC, restart=restart)
    Run.open(tmp_path).close()  # and the failures let go of the lock


@pytest.mark.parametrize("config", [None, '{"my": 1}'])
def test_what_others_keep_in_a_folder_is_left_alone(tmp_path, config):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events").write_text("precious")
    (tmp_path / "provenance.json").write_text("mine")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    for restart in (False, True):
        with pytest.raises(UserError, match="name a new folder"):
            Run.create(tmp_path, CONFIG, SPEC, restart=restart)
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before


def test_a_run_that_died_before_it_had_a_config_is_begun_anew(tmp_path):
    (tmp_path / "lock").write_text("1")
    (tmp_path / ".tmp-config.json-999999999").write_text("{")
    Run.create(tmp_path, CONFIG, SPEC, restart=True).close()
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


def test_a_damaged_provenance_is_an_error_and_a_missing_one_is_not(tmp_path):
    Run.create(tmp_path, CONFIG, SPEC).close()
    (tmp_path / "provenance.json").write_text('{"starts": ')
    with pytest.raises(UserError, match="delete it"):
        Run.open(tmp_path)
    (tmp_path / "provenance.json").unlink()
    Run.open(tmp_path).close()


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
from morello.agents.runs import Run
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


# Metrics


def test_records_are_valid_json_whatever_they_hold(tmp_path):
    record = {
        "step": 20, "frames": np.int64(80), "loss": torch.tensor(2.5), "rate": np.float32(0.5), "nan": math.nan,
        "inf": torch.tensor(-math.inf), "name": "a\nb\u2028\"", "flag": True,
    }  # fmt: skip
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        run.log(record)
        text = (tmp_path / "metrics.jsonl").read_text()  # it is there before anything is closed
    assert text.count("\n") == 1

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse) == {
        "step": 20, "frames": 80, "loss": 2.5, "rate": 0.5, "nan": None,
        "inf": None, "name": "a\nb\u2028\"", "flag": True,
    }  # fmt: skip


def test_truncation_forgets_what_came_after_and_what_was_torn(tmp_path):
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        for step in (10, 20, 30, 25):
            run.log({"step": step, "x": step / 7})
        run.log({"note": "no step"})
        run.truncate_metrics(20)
        run.log({"step": 21, "x": 1.5})
    want = [{"step": 10, "x": 10 / 7}, {"step": 20, "x": 20 / 7}, {"note": "no step"}, {"step": 21, "x": 1.5}]
    assert lines(tmp_path) == want
    path = tmp_path / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(b'{"step": 22, "x": 0.1')
    messages: list[str] = []
    assert metrics.read_records(path, messages.append) == want
    assert messages == []
    with Run.open(tmp_path) as run:
        run.log({"step": 23})  # not glued to what was torn
    assert lines(tmp_path) == [*want, {"step": 23}]
    path.write_bytes(path.read_bytes().replace(b'"note"', b"\0\0note"))
    assert metrics.read_records(path, messages.append) == [*want[:2], want[3], {"step": 23}]
    assert len(messages) == 1
    assert "line 3" in messages[0]
    with Run.open(tmp_path) as run:
        run.truncate_metrics(21)
    assert lines(tmp_path) == [*want[:2], want[3]]


def test_truncation_is_all_or_nothing(tmp_path, monkeypatch):
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        for step in (1, 2, 3):
            run.log({"step": step})
        before = (tmp_path / "metrics.jsonl").read_bytes()

        def refuse(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(UserError, match="No space left"):
                run.truncate_metrics(1)
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        assert not list(tmp_path.glob(".tmp-*"))


LOGGER = """
import sys
from collections.abc import Sequence
from pathlib import Path
from morello.agents.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]), print)
metrics._event = lambda write: None
for step in range(10**9):
    metrics.log({"step": step, "text": "x" * 997})
"""


def test_killed_while_logging(tmp_path):
    Run.create(tmp_path, CONFIG, SPEC).close()
    path = tmp_path / "metrics.jsonl"
    writer = python(LOGGER, tmp_path)
    while not path.exists() or path.stat().st_size < 100_000:
        assert writer.poll() is None, writer.stderr.read()
        time.sleep(0.002)
    writer.kill()
    writer.communicate()
    with Run.open(tmp_path):
        pass
    steps = [record["step"] for record in lines(tmp_path)]
    assert steps == list(range(len(steps)))


def fills_up(monkeypatch: Any, room: int, path: Path) -> dict[str, int]:
    """os.write to ``path`` stops after ``room`` bytes in all, as on a disk that fills up: short, then refused."""
    left = {"room": room}
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}") != str(path):
            return real(descriptor, data)
        if not left["room"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(descriptor, data[: left["room"]])
        left["room"] -= count
        return count

    monkeypatch.setattr(os, "write", write)
    return left


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path, monkeypatch):
    messages: list[str] = []
    with Run.create(tmp_path, CONFIG, SPEC, warn=messages.append) as run:
        line = len(json.dumps({"step": 10, "x": 0.5})) + 1
        with monkeypatch.context() as patch:
            left = fills_up(patch, 2 * line + 7, tmp_path / "metrics.jsonl")
            for step in range(10, 15):
                run.log({"step": step, "x": 0.5})
            left["room"] = 10**6
            run.log({"step": 15, "x": 0.5})  # there is room again: no half line before it
        assert [record["step"] for record in lines(run)] == [10, 11, 15]
        assert len(messages) == 1
        assert "No space left" in messages[0]
    assert len(messages) == 2
    assert "lacks 3 records" in messages[1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_stops_tensorboard_and_nothing_else(tmp_path, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    messages: list[str] = []
    threads = threading.active_count()
    with Run.create(tmp_path, CONFIG, SPEC, warn=messages.append) as run:
        run.log({"step": 1, "x": 1.0})
        with monkeypatch.context() as patch:
            patch.setattr(RecordWriter, "write", refuse)
            for step in range(2, 30):
                run.log({"step": step, "x": 1.0})
        run.log({"step": 30, "x": 1.0})
    assert threading.active_count() == threads
    assert [record["step"] for record in lines(run)] == list(range(1, 31))
    assert len(messages) == 1
    assert "TensorBoard" in messages[0]


def test_no_tensorboard_where_its_folder_cannot_be_made(tmp_path):
    messages: list[str] = []
    with Run.create(tmp_path, CONFIG, SPEC, warn=messages.append) as run:
        (tmp_path / "tensorboard").write_text("a file")
        run.log({"step": 1, "x": 1.0})
        run.log({"step": 2, "x": 1.0})
    assert len(lines(run)) == 2
    assert len(messages) == 1


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def test_tensorboard_has_every_step_once_after_a_resume(tmp_path):
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        for step in (0, 10, 20, 30, 40):
            run.log({"step": step, "loss": step / 4, "name": "text", "bad": math.nan})
        # What is logged is with the system at once: a kill here would lose nothing.
        assert [e.step for e in events(tmp_path).Scalars("loss")] == [0, 10, 20, 30, 40]
    time.sleep(1.1)  # files of events are ordered by the second
    with Run.open(tmp_path) as run:
        run.truncate_metrics(20)
        for step in (30, 40, 50):
            run.log({"step": step, "loss": step / 8})
    found = [(e.step, e.value) for e in events(tmp_path).Scalars("loss")]
    assert found == [(0, 0.0), (10, 2.5), (20, 5.0), (30, 3.75), (40, 5.0), (50, 6.25)]
    assert [(r["step"], r["loss"]) for r in lines(tmp_path)] == found
    assert events(tmp_path).Tags()["scalars"] == ["loss", "bad"]


def test_video_is_among_tensorboards_images(tmp_path):
    from io import BytesIO

    from PIL import Image

    frames = torch.zeros(5, 13, 17, 3, dtype=torch.uint8)
    frames[3, 2:7, 4:9, 1] = 255
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        run.video("evaluation", frames, 70)
    (image,) = events(tmp_path).Images("evaluation")
    assert (image.step, image.width, image.height) == (70, 17, 13)
    gif = Image.open(BytesIO(image.encoded_image_string))
    assert gif.format == "GIF"
    gif.seek(1)
    assert gif.convert("RGB").getpixel((5, 3)) == (0, 255, 0)


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


# Agents


def trained(folder: Path, spec: Spec = SPEC, streams: Sequence[str] = ("extrinsic",), **config: Any) -> ActorCritic:
    """A run with a checkpoint of a model with random weights."""
    settings = {**CONFIG, **config}
    torso = "nature" if "image" in spec.observation else "mlp"
    model = ActorCritic(spec, torso=torso, memory=settings["memory"], memory_size=11, streams=streams)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    with Run.create(folder, settings, spec) as run:
        checkpoint.save(
            run.checkpoints, 123, {"learner": {"model": model.state_dict(), "steps": torch.tensor(123)}}, keep=1
        )
    return model


def observation(batch: int, spec: Spec = SPEC) -> dict[str, torch.Tensor]:
    made = {
        "image": lambda shape: torch.randint(0, 256, (batch, *shape), dtype=torch.uint8),
        "vector": lambda shape: torch.randn(batch, *shape),
    }
    return {name: made[name](shape) for name, (shape, _) in spec.observation.items()}


@pytest.mark.parametrize("memory", ["none", "lstm", "gru"])
@pytest.mark.parametrize("streams", [("extrinsic",), ("extrinsic", "b", "a")])
def test_a_loaded_agent_is_the_one_that_was_saved(tmp_path, memory, streams):
    model = trained(tmp_path, memory=memory, streams=streams)
    agent = load(tmp_path)
    assert (agent.step, agent.config, agent.spec) == (123, CONFIG | {"memory": memory}, SPEC)
    mine, state = model.initial_state(5), agent.initial_state(5)
    generator = torch.Generator().manual_seed(1)
    for t in range(4):
        seen, first, reward = observation(5), torch.tensor([t == 0, False, t == 2, False, True]), torch.randn(5)
        out = model.act(seen, first, mine._replace(reward=reward))
        before = generator.get_state()
        action, after = agent.act(seen, state, first, reward, generator=generator)
        told, _ = agent.act(seen, state._replace(reward=reward), first, generator=generator.set_state(before))
        assert torch.equal(action, told)  # the reward may also be put into the state
        best, _ = agent.act(seen, state, first, reward, greedy=True)
        assert torch.equal(best, out.logits[0].argmax(-1))
        logits = agent.model.act(seen, first, state._replace(reward=reward)).logits
        assert torch.equal(logits, out.logits)
        assert action.dtype == torch.int64
        assert torch.equal(after.action, action)
        mine, state = after._replace(memory=out.memory), after
        assert not any(p.requires_grad for p in agent.model.parameters())


def test_actions_are_drawn_from_the_policy(tmp_path):
    spec = SPEC._replace(observation={"vector": ((5,), torch.float32)})
    trained(tmp_path, spec, memory="none")
    agent = load(tmp_path)
    count = 7_001
    seen = {"vector": torch.randn(5).expand(count, 5)}
    state, first = agent.initial_state(count), torch.ones(count, dtype=torch.bool)
    policy = agent.model.act(seen, first, state).logits[0, 0].softmax(-1)
    action, _ = agent.act(seen, state, first, generator=torch.Generator().manual_seed(2))
    drawn = torch.bincount(action, minlength=7) / count
    assert policy.max() < 0.9
    torch.testing.assert_close(drawn, policy, atol=0.03, rtol=0)


def test_the_newest_good_checkpoint_is_taken(tmp_path, capsys):
    model = trained(tmp_path)
    checkpoint.save(tmp_path / "checkpoints", 124, {"learner": {"model": {}}}, keep=2)
    next((tmp_path / "checkpoints").glob("*124/tree.json")).write_text("")
    agent = load(str(tmp_path))
    assert agent.step == 123
    assert "falling back" in capsys.readouterr().err
    assert torch.equal(agent.model.policy.weight, model.policy.weight)


def test_what_an_agent_cannot_be_made_of(tmp_path):
    Run.create(tmp_path / "empty", CONFIG, SPEC).close()
    with pytest.raises(UserError, match="no checkpoint yet"):
        load(tmp_path / "empty")
    trained(tmp_path / "run")
    with pytest.raises(UserError, match="device 'nowhere'"):
        load(tmp_path / "run", device="nowhere")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    for change in (
        {"memory": "gru"},
        {"memory_size": 13},
        {"torso": "shallow"},
        {"torso": "gone"},
        {"memory": None},
    ):
        (tmp_path / "run" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError, match="another network") as error:
            load(tmp_path / "run")
        assert "\n" not in str(error.value)


def test_an_agent_shown_something_else_says_what_it_knows(tmp_path):
    trained(tmp_path)
    agent = load(tmp_path)
    state, first, seen = agent.initial_state(2), torch.ones(2, dtype=torch.bool), observation(2)
    for wrong in (
        {"image": seen["image"]},
        seen | {"vector": torch.randn(2, 7)},
        seen | {"image": seen["image"].float()},
        seen | {"image": seen["image"].permute(0, 3, 1, 2)},
    ):
        with pytest.raises(UserError, match="trained to see"):
            agent.act(wrong, state, first)


def test_loading_runs_nothing_that_the_folder_names(tmp_path, monkeypatch):
    """A configuration is data: what it names is looked up in our tables or refused."""
    trained(tmp_path)
    (tmp_path / "evil.py").write_text("raise AssertionError")
    config = json.loads((tmp_path / "config.json").read_text())
    names = {"env": "evil:x", "preset": "evil", "plugins": ["evil"], "torso": "evil"}
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, **names, "torso": "auto"}))
    load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, **names}))
    with pytest.raises(UserError, match="another network"):
        load(tmp_path)
    assert "evil" not in sys.modules
