"""Metrics that outlive kills and full disks, as lines and as TensorBoard events."""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from morello.agents.storage import metrics
from morello.agents.storage.run_folder import Run
from morello.envs.errors import UserError

from ...support.run_folders import CONFIG, SPEC, lines, python


def test_records_are_valid_json_whatever_they_hold(tmp_path):
    record = {
        "step": 20,
        "frames": np.int64(80),
        "loss": torch.tensor(2.5),
        "rate": np.float32(0.5),
        "nan": math.nan,
        "inf": torch.tensor(-math.inf),
        "name": 'a\nb\u2028"',
        "flag": True,
    }
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        run.log(record)
        text = (tmp_path / "metrics.jsonl").read_text()  # it is there before anything is closed
    assert text.count("\n") == 1

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse) == {
        "step": 20,
        "frames": 80,
        "loss": 2.5,
        "rate": 0.5,
        "nan": None,
        "inf": None,
        "name": 'a\nb\u2028"',
        "flag": True,
    }


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
from morello.agents.storage.metrics import Metrics
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
        assert len(messages) == 2
        assert "No space left" in messages[0]
        assert "again; 3 records are missing" in messages[1]
    assert len(messages) == 3
    assert "lacks 3 records" in messages[2]


def test_tensorboard_goes_on_when_there_is_room_again(tmp_path, monkeypatch):
    messages: list[str] = []
    threads = threading.active_count()
    with Run.create(tmp_path, CONFIG, SPEC, warn=messages.append) as run:
        run.log({"step": 1, "x": 1.0})
        (file,) = (tmp_path / "tensorboard").iterdir()
        with monkeypatch.context() as patch:
            left = fills_up(patch, 60, file)  # full in the middle of the next event
            for step in range(2, 30):
                run.log({"step": step, "x": 1.0})
            left["room"] = 10**6
            run.log({"step": 30, "x": 1.0})
    assert threading.active_count() == threads
    assert [record["step"] for record in lines(run)] == list(range(1, 31))
    told = [e.step for e in events(tmp_path).Scalars("x")]
    assert told[0] == 1
    assert told[-1] == 30
    assert len(told) in (2, 3)
    assert len(messages) == 3
    assert "TensorBoard gets nothing" in messages[0]
    assert f"again; {30 - len(told)} records are missing" in messages[1]
    assert f"lacks {30 - len(told)} records" in messages[2]


def test_tensorboard_begins_when_its_folder_can_be_made(tmp_path):
    messages: list[str] = []
    with Run.create(tmp_path, CONFIG, SPEC, warn=messages.append) as run:
        (tmp_path / "tensorboard").write_text("a file")
        run.log({"step": 1, "x": 1.0})
        run.log({"step": 2, "x": 1.0})
        (tmp_path / "tensorboard").unlink()
        run.log({"step": 3, "x": 1.0})
    assert len(lines(run)) == 3
    assert [e.step for e in events(tmp_path).Scalars("x")] == [3]
    assert [m.partition(" ")[0] for m in messages] == ["TensorBoard", "TensorBoard", str(tmp_path / "tensorboard")]


def test_a_resumed_run_forgets_later_events_though_the_disk_was_full_at_its_start(tmp_path):
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        for step in (10, 20, 30):
            run.log({"step": step, "x": 1.0})
    with Run.open(tmp_path, warn=lambda message: None) as run:
        run.truncate_metrics(10)
        (tmp_path / "tensorboard").rename(tmp_path / "away")
        (tmp_path / "tensorboard").write_text("a file")
        run.log({"step": 20, "x": 2.0})
        (tmp_path / "tensorboard").unlink()
        (tmp_path / "away").rename(tmp_path / "tensorboard")
        run.log({"step": 30, "x": 3.0})
    assert [(e.step, e.value) for e in events(tmp_path).Scalars("x")] == [(10, 1.0), (30, 3.0)]


def test_metrics_are_on_the_disk_before_a_checkpoint_gets_its_name(tmp_path, monkeypatch):
    synced: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename
    run = Run.create(tmp_path / "a" / "run", CONFIG, SPEC)
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real_fsync(fd)))
    monkeypatch.setattr(os, "rename", lambda a, b: (synced.append(str(b)), real_rename(a, b)))
    run.log({"step": 5})
    run.save(5, {}, keep=1)
    run.close()
    named = synced.index(str(run.checkpoints / "step_000000000005"))
    assert str(run.path / "metrics.jsonl") in synced[:named]
    assert str(run.path) in synced[:named]  # its name too


def test_the_names_of_a_runs_folders_are_on_the_disk_once_it_is_begun(tmp_path, monkeypatch):
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    Run.create(tmp_path / "a" / "b", CONFIG, SPEC).close()
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= {*synced}


def test_records_that_are_missing_are_counted(tmp_path):
    with Run.create(tmp_path, CONFIG, SPEC) as run:
        for step in (10, 20, 30):
            run.log({"step": step})
        assert run.records == 3
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:15])
    with Run.open(tmp_path) as run:
        assert run.truncate_metrics(30, records=3) == 2
        assert run.records == 3
        assert run.truncate_metrics(30) == 0


def test_metrics_are_not_written_through_a_link(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG, SPEC)
    run.close()
    (tmp_path / "precious").write_text("mine, without a line break")
    (run.path / "metrics.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="it is a link"):
        Run.open(run.path)
    assert (tmp_path / "precious").read_text() == "mine, without a line break"


@pytest.mark.timeout(60)
def test_an_endless_file_is_refused(tmp_path):
    Run.create(tmp_path, CONFIG, SPEC).close()
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    os.truncate(path, 2**42)  # a hole
    with pytest.raises(UserError, match="it is larger than the 4,294,967,296 bytes"):
        metrics.read_records(path, print)
    with pytest.raises(UserError, match=r"metrics\.jsonl has no line break in its last 4,194,304 bytes"):
        Run.open(tmp_path)


def test_lines_that_are_no_records_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    good = [b'{"step": 1, "x": 2.5, "word": "w", "none": null, "flag": true}', b'{"x": NaN}']
    bad = [
        b"[]",
        b"3",
        b'{"step": "1"}',
        b'{"step": NaN}',
        b'{"step": null}',
        b'{"x": [1]}',
        b'{"x": {}}',
        b"\xff",
        b'{"x": 123456789012345678901234567890}',
        b'{"x": "\\ud800"}',
        b'{"x": ' + b"[" * 100_000,
    ]
    path.write_bytes(b"".join(line + b"\n" for line in [*bad, *good]))
    messages: list[str] = []
    found = metrics.read_records(path, messages.append)
    assert [sorted(r) for r in found] == [["flag", "none", "step", "word", "x"], ["x"]]
    assert f"left out {len(bad)} damaged lines, the first of them line 1" in messages[0]


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


def test_a_picture_is_a_file_and_among_tensorboards_images(tmp_path, capsys):
    from io import BytesIO

    from PIL import Image

    def png(colour):
        buffer = BytesIO()
        Image.new("RGB", (17, 13), colour).save(buffer, "PNG")
        return buffer.getvalue()

    with Run.create(tmp_path, CONFIG, SPEC) as run:
        run.picture("map", png("red"), 70)
        run.picture("map", png("blue"), 90)
        assert (tmp_path / "map.png").read_bytes() == png("blue")
        (tmp_path / "map.png").unlink()
        (tmp_path / "map.png").mkdir()
        (tmp_path / "map.png" / "other").touch()
        run.picture("map", png("green"), 110)  # costs only the file
    assert "map.png was not written" in capsys.readouterr().err
    found = events(tmp_path).Images("map")
    assert [(image.step, image.width, image.height) for image in found] == [(70, 17, 13), (90, 17, 13), (110, 17, 13)]
    assert [image.encoded_image_string for image in found] == [png("red"), png("blue"), png("green")]
