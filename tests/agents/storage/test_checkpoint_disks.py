"""Checkpoints: what a kill and a full disk leave behind."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from morello.agents.storage import checkpoint
from morello.agents.storage.checkpoint import CheckpointNotWritten

from ...support.checkpoints import FILES, names, same, tree
from ...support.checkpoints import two as two  # a fixture

# Killed while writing

KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from morello.agents.storage import checkpoint, codec

torch.set_num_threads(1)
base = Path(sys.argv[1])
random.seed(5)
tree = lambda value: {"x": torch.full((4099,), value), "value": value}

def die_at(countdown):
    # SIGKILL before the n-th call that changes the disk, or in the middle of it if it writes.
    left = [countdown]
    def wrap(name):
        real = getattr(os, name)
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        setattr(os, name, call)
    for name in ("mkdir", "open", "write", "fsync", "rename", "replace", "unlink", "rmdir"):
        wrap(name)

def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid

def value(folder):
    messages = []
    found = checkpoint.load(folder, warn=messages.append)
    if found is None:
        return None, messages
    assert found[1]["x"].tolist() == [found[1]["value"]] * 4099
    return found[1]["value"], messages

def every_step(scenario):
    results = []
    for n in range(1, 10**6):
        folder = base / f"{scenario}{n}"
        if scenario != "first":
            checkpoint.save(folder, 100, tree(1.0), keep=1)
        def work():
            die_at(n)
            checkpoint.save(folder, 100 if scenario == "again" else 200, tree(2.0), keep=1)
        status = os.waitpid(child(work), 0)[1]
        found, messages = value(folder)
        checkpoint.save(folder, 300, tree(3.0), keep=1)
        results.append([found, messages, value(folder), sorted(p.name for p in folder.iterdir())])
        if status == 0:
            return results

def random_moments():
    results = []
    folder = base / "random"
    checkpoint.save(folder, 0, tree(0.0), keep=1)
    for _ in range(20):
        told, tell = os.pipe()
        def forever():
            for i in range(1, 10**6):
                checkpoint.save(folder, i // 3, tree(float(i)), keep=1)
                os.write(tell, b".")
        pid = child(forever)
        for _ in range(random.randrange(1, 12)):  # so many were saved, and perhaps more
            os.read(told, 1)
        time.sleep(random.random() * 0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        results.append([*value(folder), len(list(folder.glob(".tmp-*")))])
    return results

results = {scenario: every_step(scenario) for scenario in ("first", "next", "again")}
print(json.dumps({**results, "random": random_moments()}))
"""


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: Any) -> dict[str, list[Any]]:
    command = [sys.executable, "-c", KILLED, str(tmp_path_factory.mktemp("deaths"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("scenario", "before"), [("first", None), ("next", 1.0), ("again", 1.0)])
def test_killed_at_every_single_step_of_saving(deaths: Any, scenario: str, before: float | None) -> None:
    results = deaths[scenario]
    assert len(results) > 20
    values = [found for found, *_ in results]
    published = values.index(2.0)
    # The old one up to some moment, the new one from then on, never neither (nor half of one).
    assert values == [before] * published + [2.0] * (len(values) - published)
    assert 0 < published < len(values) - 1
    for found, messages, after, left in results:
        # Between the first checkpoint's rename and the pointer there is no pointer: it says so.
        assert messages == [] or (scenario == "first" and found == 2.0 and "latest.json is missing" in messages[0])
        assert after == [3.0, []]
        assert left == ["latest.json", "step_000000000300"]


def test_killed_at_random_moments(deaths: Any) -> None:
    for value, messages, leftovers in deaths["random"]:
        assert value is not None
        assert messages == []
        assert leftovers <= 3
    assert len({value for value, *_ in deaths["random"]}) > 1


def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: Any) -> None:
    """Renames may reach the disk in any order and at any time after they are made, data only when synced."""
    opened: dict[int, str] = {}
    events: list[tuple[str, str]] = []

    def spy(name: str, note: Any) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            note(result, *args)
            return result

        monkeypatch.setattr(os, name, call)

    spy("open", lambda fd, path, *_, **__: opened.update({fd: os.path.basename(path)}))
    spy("write", lambda _, fd, data: events.append(("write", opened[fd])))
    spy("fsync", lambda _, fd: events.append(("fsync", opened[fd])))
    spy("rename", lambda _, old, new: events.append(("rename", os.path.basename(new))))
    spy("replace", lambda _, old, new: events.append(("rename", os.path.basename(new))))
    checkpoint.save(tmp_path, 5, tree(5), keep=1)
    monkeypatch.undo()
    order = list(dict.fromkeys(events))  # first occurrences
    named = order.index(("rename", "step_000000000005"))
    folder = f".tmp-step_000000000005-{os.getpid()}"
    for name in FILES:
        assert order.index(("write", name)) < order.index(("fsync", name)) < order.index(("fsync", folder)) < named
    assert order.index(("write", folder + ".json")) < order.index(("fsync", folder + ".json")) < named
    assert events[events.index(("rename", "step_000000000005")) :] == [
        ("rename", "step_000000000005"),
        ("fsync", tmp_path.name),
        ("rename", "latest.json"),
        ("fsync", tmp_path.name),
    ]


# A full disk


def refuse(monkeypatch: Any, calls: tuple[str, ...], at: int, number: int, forever: bool) -> list[int]:
    """From the ``at``-th of these os calls on, or only then, the disk refuses. Counts down in the answer."""
    left = [at]

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            creates = name != "open" or (len(args) > 1 and args[1] & os.O_CREAT)
            left[0] -= bool(creates)
            if creates and (left[0] == 0 or (forever and left[0] < 0)):
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in calls:
        wrap(name)
    return left


@pytest.mark.parametrize("step", [200, 300])
@pytest.mark.parametrize(("number", "forever"), [(errno.ENOSPC, True), (errno.EDQUOT, False)])
def test_a_full_disk_costs_only_this_checkpoint(
    tmp_path: Path, monkeypatch: Any, number: int, step: int, forever: bool
) -> None:
    """Refused at every single call in turn. Renames need no space: a disk that stays full still allows them."""
    calls = ("mkdir", "open", "write", "fsync") + (() if forever else ("rename", "replace"))
    for at in range(1, 1000):
        folder = tmp_path / f"{at}"
        for good in (100, 200):
            checkpoint.save(folder, good, tree(good), keep=2)
        with monkeypatch.context() as patch:
            left = refuse(patch, calls, at, number, forever)
            messages: list[str] = []
            try:
                checkpoint.save(folder, step, tree(-1), keep=2, warn=messages.append)
                refused = None
            except CheckpointNotWritten as error:
                refused = error
        if left[0] > 0:  # it was never refused
            assert refused is None
            break
        if refused is None:  # only making a folder that was there already failed, or deleting a surplus one
            assert at == 1 or "could not be deleted" in messages[0]
            assert same(checkpoint.load(folder), (step, tree(-1)))
        else:
            assert refused.__cause__.errno == number
            assert f"checkpoint of step {step}" in str(refused)
            assert os.strerror(number) in str(refused)
            assert names(folder) == ["latest.json", "step_000000000100", "step_000000000200"]
            messages = []
            assert same(checkpoint.load(folder, warn=messages.append), (200, tree(200)))
            assert messages == []
        checkpoint.save(folder, step, tree(9), keep=1)
        assert same(checkpoint.load(folder), (step, tree(9)))
        assert names(folder) == ["latest.json", f"step_{step:012d}"]
    assert at > 10


def room_for(monkeypatch: Any, folder: Path, room: int) -> None:
    """The files of checkpoints may take ``room`` bytes together."""
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        used = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        if used + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("broken", [None, 300])
def test_the_last_checkpoint_takes_the_room_of_all_but_the_newest_good_one(
    tmp_path: Path, monkeypatch: Any, broken: int | None
) -> None:
    value = {"x": torch.zeros(10_007)}
    for step in (100, 200, 300):
        checkpoint.save(tmp_path, step, value, keep=5)
    if broken is not None:
        (tmp_path / f"step_{broken:012d}" / "tree.json").write_text("{}")
    room_for(monkeypatch, tmp_path, 150_000)
    messages: list[str] = []
    with pytest.raises(CheckpointNotWritten, match="No space left"):
        checkpoint.save(tmp_path, 400, value, keep=5, warn=messages.append)
    assert names(tmp_path) == ["latest.json", *(f"step_{s:012d}" for s in (100, 200, 300))]
    checkpoint.save(tmp_path, 400, value, keep=5, warn=messages.append, last=True)
    good = 300 if broken is None else 200
    assert names(tmp_path) == ["latest.json", f"step_{good:012d}", "step_000000000400"]
    assert "deleting 2 older checkpoints" in messages[0]


def test_the_newest_good_checkpoint_is_never_given_up_for_a_later_one(tmp_path: Path, monkeypatch: Any) -> None:
    for step in (100, 200):
        checkpoint.save(tmp_path, step, tree(step), keep=2)
    room_for(monkeypatch, tmp_path, 20_000)
    with pytest.raises(CheckpointNotWritten, match="No space left"):
        checkpoint.save(tmp_path, 300, {"x": torch.zeros(10_007)}, keep=2, last=True, warn=lambda message: None)
    assert same(checkpoint.load(tmp_path, warn=lambda message: None), (200, tree(200)))


def test_a_file_too_large_for_the_limit(two: Path) -> None:
    """The real thing, as far as it goes without a disk of one's own: the kernel refuses in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointNotWritten, match="File too large"):
            checkpoint.save(two, 300, {"x": torch.zeros(100_003)}, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(two) == ["latest.json", "step_000000000100", "step_000000000200"]
    assert same(checkpoint.load(two), (200, tree(200)))


FULL = """
import errno, sys
from pathlib import Path
import torch
from morello.agents.storage import checkpoint, codec

folder = Path(sys.argv[1]) / "c"
saved = 0
for step in range(1, 100):
    try:
        checkpoint.save(folder, step, {"x": torch.full((20011,), float(step))}, keep=100)
        saved = step
    except checkpoint.CheckpointNotWritten as error:
        assert error.__cause__.errno == errno.ENOSPC, error
        break
assert 3 < saved < 99 and step == saved + 1
found, tree = checkpoint.load(folder)
assert found == saved and tree["x"].tolist() == [float(saved)] * 20011
assert not list(folder.glob(".tmp-*"))
(folder / "step_000000000001" / "tensors.safetensors").unlink()
checkpoint.save(folder, step, {"x": torch.ones(3)}, keep=2)
assert checkpoint.load(folder)[0] == step
print("full and survived")
"""


def test_a_file_system_that_is_full(tmp_path: Path) -> None:
    """On a tmpfs of one megabyte in a mount namespace of its own, where the machine allows one."""
    space = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    if shutil.which("unshare") is None or subprocess.run([*space, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no mount namespace here")
    command = [*space, "sh", "-c", f'{mount} && exec "$0" -c "$1" {tmp_path}', sys.executable, FULL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "full and survived" in done.stdout, done.stderr


def test_an_older_checkpoint_without_manifest_is_no_matter(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, tree(step), keep=2)
    (tmp_path / "latest.json").write_text("of neither")
    (tmp_path / "step_000000000001" / "manifest.json").unlink()
    messages = []
    step, found = checkpoint.load(tmp_path, warn=messages.append)
    assert step == 2
    assert same(found, tree(2))
    assert "missing or damaged" in messages[0]
