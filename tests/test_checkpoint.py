"""Checkpoints: bit-exact round trips, and what a kill, a bad disk and a full disk leave behind."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import pickle
import random
import resource
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import morello
from morello.agents import checkpoint
from morello.agents.checkpoint import CheckpointNotWritten
from morello.envs.errors import UserError

FILES = ("tensors.safetensors", "tree.json", "manifest.json")


def bits(x: torch.Tensor) -> bytes:
    return x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, and of the same types (a NamedTuple counts as a tuple)."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and (a.dtype, a.shape) == (b.dtype, b.shape) and bits(a) == bits(b)
    if isinstance(a, dict):
        return (
            isinstance(b, dict)
            and [(type(k), k) for k in a] == [(type(k), k) for k in b]
            and all(same(a[k], b[k]) for k in a)
        )
    if isinstance(a, list | tuple):
        kind = list if isinstance(a, list) else tuple
        return type(b) is kind and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)  # tells -0.0 from 0.0, and nan is nan


def tree(value: float) -> dict[str, Any]:
    """Something to save that can be told apart by ``value``."""
    return {"weights": torch.arange(1, 8) * value, "step": {3: torch.tensor(value)}, "name": f"{value}"}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Good checkpoints of steps 100 and 200."""
    for step in (100, 200):
        checkpoint.save(tmp_path, step, tree(step), keep=2)
    return tmp_path


# Round trips


class Pair(NamedTuple):
    left: Any
    right: Any


def tensors() -> st.SearchStrategy[torch.Tensor]:
    """Any dtype, shape and bit pattern (NaN payloads too), contiguous or not."""

    @st.composite
    def build(draw: Any) -> torch.Tensor:
        dtype = draw(st.sampled_from(list(checkpoint.DTYPES)))
        shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=3))
        numel = int(torch.tensor(shape).prod()) if shape else 1
        size = numel * dtype.itemsize
        raw = torch.frombuffer(bytearray(draw(st.binary(min_size=size, max_size=size)) + b"\0" * 8), dtype=torch.uint8)
        flat = (raw[:numel] % 2).bool() if dtype == torch.bool else raw[: numel * dtype.itemsize].view(dtype)
        x = flat.reshape(shape)
        return draw(st.sampled_from([x, x.T if x.dim() == 2 else x, x.expand(2, *shape), x[..., None][..., 0]]))

    return build()


def trees() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    keys = st.text(max_size=5) | st.integers() | st.sampled_from(["a/b", "a", "b", "__metadata__", "tensor"])
    return st.recursive(
        tensors() | scalars,
        lambda leaf: (
            st.lists(leaf, max_size=3)
            | st.lists(leaf, max_size=3).map(tuple)
            | st.builds(Pair, leaf, leaf)
            | st.dictionaries(keys, leaf, max_size=4)
        ),
        max_leaves=12,
    )


@settings(max_examples=60, deadline=None)
@given(saved=trees())
def test_any_tree_comes_back_bit_for_bit(tmp_path_factory: Any, saved: Any) -> None:
    folder = tmp_path_factory.mktemp("trees")
    path = checkpoint.save(folder, 7, saved, keep=1)
    step, loaded = checkpoint.load(folder)
    assert step == 7
    assert same(saved, loaded)
    load_file(path / "tensors.safetensors")  # it is what it claims to be, to the format's own library
    shutil.rmtree(folder)


def test_plain_values(tmp_path: Path) -> None:
    saved = [math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324, 10**30, -1, True, False, None, "", "\ud800\0é", (), {}]
    path = checkpoint.save(tmp_path, 1, saved, keep=1)
    assert same(checkpoint.load(tmp_path)[1], saved)
    json.loads((path / "tree.json").read_bytes(), parse_constant=pytest.fail)  # JSON proper has no NaN
    checkpoint.save(tmp_path, 2, [np.float64(0.1), np.float64("inf")], keep=1)
    assert checkpoint.load(tmp_path)[1] == [0.1, math.inf]


def test_names_that_clash_are_told_apart(tmp_path: Path) -> None:
    a, b, c, d = torch.arange(1, 5).split(1)
    saved = {"x": {"y": a, 1: b, "1": c}, "x/y": d, "__metadata__": a, "": b}
    checkpoint.save(tmp_path, 1, saved, keep=1)
    assert same(checkpoint.load(tmp_path)[1], saved)


def test_names_and_alignment_as_the_format_has_them(tmp_path: Path) -> None:
    saved = {"b": torch.tensor([True, False, True]), "a": {"c": torch.randn(3, 5, dtype=torch.float64)}}
    path = checkpoint.save(tmp_path, 1, saved, keep=1)
    read = load_file(path / "tensors.safetensors")
    assert same(read["a/c"], saved["a"]["c"])
    assert same(read["b"], saved["b"])
    raw = (path / "tensors.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert length % 8 == 0
    assert header["a/c"]["data_offsets"][0] % 8 == 0  # widest first: readers map the file


def test_shared_storage_odd_views_and_what_torch_modules_give(tmp_path: Path) -> None:
    base = torch.randn(5, 7)
    module = torch.nn.Linear(3, 2)
    saved = {
        "base": base,
        "again": base,
        "view": base[1::2, 2:5],
        "transposed": base.T,
        "column": base[:, 3],
        "expanded": torch.tensor(2.5).expand(3, 2),
        "parameter": module.weight,
        "state": module.state_dict(),
        "generator": torch.Generator().manual_seed(11).get_state(),
    }
    assert isinstance(saved["state"], OrderedDict)
    checkpoint.save(tmp_path, 1, saved, keep=1)
    _, loaded = checkpoint.load(tmp_path)
    assert same({**saved, "parameter": module.weight.data, "state": dict(saved["state"])}, loaded)
    loaded["base"].zero_()  # its own memory: not the file's, not the others'
    assert same(loaded["again"], base)
    torch.Generator().set_state(loaded["generator"])
    module.load_state_dict(loaded["state"])


def test_loaded_tensors_outlive_the_files(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tree(3.0), keep=1)
    _, loaded = checkpoint.load(tmp_path)
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(b"")
    shutil.rmtree(tmp_path)
    assert same(loaded, tree(3.0))


@pytest.mark.gpu
def test_cuda_tensors_come_back_on_the_cpu(tmp_path: Path) -> None:
    saved = torch.randn(5, 3, device="cuda").T
    checkpoint.save(tmp_path, 1, {"x": saved}, keep=1)
    assert same(checkpoint.load(tmp_path)[1], {"x": saved.cpu()})


def test_part_reads_one_branch(two: Path) -> None:
    assert same(checkpoint.load(two, part=("step", 3)), (200, torch.tensor(200)))
    assert same(checkpoint.load(two, part=("name",))[1], "200")
    with pytest.raises(UserError, match="nothing"):
        checkpoint.load(two, part=("step", "nothing"), warn=lambda message: None)


@pytest.mark.parametrize(
    "bad",
    [
        object(),
        {True: 1},
        {2.5: 1},
        [{1, 2}],
        b"bytes",
        torch.zeros(3, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
        torch.zeros(2, device="meta"),
    ],
)
def test_what_it_cannot_hold_is_refused_before_the_disk_is_touched(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(TypeError, match="checkpoint"):
        checkpoint.save(tmp_path / "c", 1, {"fine": torch.ones(2), "here": bad}, keep=1)
    assert not (tmp_path / "c").exists()


# Which are kept, which is taken


def test_the_newest_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "nowhere") is None
    assert not checkpoint.exists(tmp_path)
    for step in (0, 5, 90, 1000, 2_000_000_000_000):  # text order is not number order beyond twelve digits
        path = checkpoint.save(tmp_path, step, tree(step + 0.5), keep=2)
        loaded_step, loaded = checkpoint.load(tmp_path)
        assert (loaded_step, path.name) == (step, f"step_{step:012d}")
        assert same(loaded, tree(step + 0.5))
        assert checkpoint.exists(tmp_path)
    assert names(tmp_path) == ["latest.json", "step_000000001000", "step_2000000000000"]
    latest = (tmp_path / "latest.json").read_bytes()
    assert latest == (path / "manifest.json").read_bytes()
    for name, digest in json.loads(latest)["sha256"].items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
    with pytest.raises(ValueError, match="keep"):
        checkpoint.save(tmp_path, 1, {}, keep=0)


def test_saving_a_step_again_replaces_it(two: Path) -> None:
    for value in (7.0, 8.0):
        checkpoint.save(two, 200, tree(value), keep=2)
        assert same(checkpoint.load(two), (200, tree(value)))
    assert names(two) == ["latest.json", "step_000000000100", "step_000000000200"]


def test_after_a_fallback_the_broken_later_ones_go_and_good_later_ones_stay(two: Path) -> None:
    checkpoint.save(two, 300, tree(300), keep=3)
    (two / "step_000000000200" / "tree.json").write_text("{}")
    checkpoint.save(two, 150, tree(150), keep=1)
    assert names(two) == ["latest.json", "step_000000000150", "step_000000000300"]


def test_temporary_names_are_never_taken_for_checkpoints(two: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        shutil.copytree(two / "step_000000000200", two / f".tmp-step_000000000900-{pid}")
    (two / f".tmp-step_000000000900-{dead.pid}.json").write_text("{}")
    messages: list[str] = []
    assert checkpoint.load(two, warn=messages.append)[0] == 200
    assert messages == []
    checkpoint.save(two, 300, tree(300), keep=1)
    # What a dead process left is removed; what a living one is writing is not.
    assert names(two) == [f".tmp-step_000000000900-{os.getppid()}", "latest.json", "step_000000000300"]


def test_a_reader_survives_being_overtaken_by_pruning(two: Path, monkeypatch: Any) -> None:
    verify, calls = checkpoint._verify, []

    def overtaken(path: Path, step: int) -> None:
        calls.append(step)
        if len(calls) == 1:
            checkpoint.save(two, 300, tree(300), keep=1)
        verify(path, step)

    monkeypatch.setattr(checkpoint, "_verify", overtaken)
    messages: list[str] = []
    assert same(checkpoint.load(two, warn=messages.append), (300, tree(300)))
    assert messages == []


# Broken files


def test_every_flipped_bit_is_noticed(two: Path) -> None:
    """One bit of every byte: in a checkpoint's files the one before is taken, in the pointer the newest."""
    generator = random.Random(3)
    for name in (*(f"step_000000000200/{name}" for name in FILES), "latest.json"):
        path = two / name
        good = path.read_bytes()
        for i in range(len(good)):
            bad = bytearray(good)
            bad[i] ^= 1 << generator.randrange(8)
            path.write_bytes(bad)
            messages: list[str] = []
            step, loaded = checkpoint.load(two, warn=messages.append)
            assert len(messages) == 1, (name, i)
            assert same(loaded, tree(step))
            assert step == (200 if name == "latest.json" else 100)
            assert "latest.json" in messages[0] if step == 200 else "falling back" in messages[0]
        path.write_bytes(good)
    messages = []
    assert checkpoint.load(two, warn=messages.append)[0] == 200
    assert messages == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0.0, 0.5, 1.0, None])
def test_truncated_and_missing_files(two: Path, name: str, left: float | None, capsys: Any) -> None:
    path = two / "step_000000000200" / name
    data = path.read_bytes()
    if left is None:
        path.unlink()
    else:
        path.write_bytes(data[: min(int(len(data) * left), len(data) - 1)])
    assert same(checkpoint.load(two), (100, tree(100)))
    assert "step_000000000200 is broken" in (said := capsys.readouterr().err)
    assert name in said


def forge(path: Path, name: str, data: bytes) -> None:
    """Put other content into a checkpoint, hash and all."""
    (path / name).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["sha256"][name] = hashlib.sha256(data).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "{}", "null", '{"step": 200, "sha256": []}', "\x00\x00", "{"])
def test_foreign_json(two: Path, text: str) -> None:
    messages: list[str] = []
    (two / "step_000000000200" / "manifest.json").write_text(text)
    assert checkpoint.load(two, warn=messages.append)[0] == 100
    checkpoint.save(two, 200, tree(200), keep=2)
    forge(two / "step_000000000200", "tree.json", text.encode())
    assert checkpoint.load(two, warn=messages.append)[0] == 100
    assert len(messages) == 2


@pytest.mark.parametrize("node", [{"tensor": "other"}, {"kind": 1}, {"dict": 3}, {"a": 1, "b": 2}, {"tuple": None}])
def test_foreign_trees(two: Path, node: Any) -> None:
    messages: list[str] = []
    structure = json.loads((two / "step_000000000200" / "tree.json").read_bytes())
    forge(two / "step_000000000200", "tree.json", json.dumps({**structure, "tree": node}).encode())
    assert checkpoint.load(two, warn=messages.append)[0] == 100
    assert len(messages) == 1


def test_a_pickle_is_not_run(two: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(two / "run"),)

    forge(two / "step_000000000200", "tensors.safetensors", pickle.dumps(Evil()))
    assert checkpoint.load(two, warn=lambda message: None)[0] == 100
    assert not (two / "run").exists()


def test_a_checkpoint_under_another_ones_name_is_broken(two: Path) -> None:
    os.rename(two / "step_000000000200", two / "step_000000000300")
    assert checkpoint.load(two, warn=lambda message: None)[0] == 100


def test_nothing_readable_is_an_error_that_names_folder_and_faults(two: Path) -> None:
    (two / "step_000000000200" / "tree.json").write_text("{}")
    (two / "step_000000000100" / "tensors.safetensors").unlink()
    with pytest.raises(UserError) as error:
        checkpoint.load(two, warn=lambda message: None)
    for part in (
        str(two),
        "step_000000000200: tree.json does not match",
        "step_000000000100: tensors.safetensors is missing",
    ):
        assert part in str(error.value)
    for path in two.glob("step_*"):
        shutil.rmtree(path)
    with pytest.raises(UserError, match=r"only latest\.json is left"):
        checkpoint.load(two)


def test_another_format_says_who_wrote_it(two: Path) -> None:
    structure = json.loads((two / "step_000000000200" / "tree.json").read_bytes())
    assert structure["format"] == 1
    assert structure["morello"] == morello.__version__
    data = {"format": 2, "morello": "9.8.7", "step": 200, "tree": {"new": "things"}}
    forge(two / "step_000000000200", "tree.json", json.dumps(data).encode())
    with pytest.raises(UserError, match=r"written by morello 9\.8\.7 in checkpoint format 2"):
        checkpoint.load(two)


# Killed while writing

KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from morello.agents import checkpoint

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
    def forever():
        for i in range(1, 10**6):
            checkpoint.save(folder, i // 3, tree(float(i)), keep=1)
    for _ in range(20):
        pid = child(forever)
        time.sleep(0.02 + random.random() * 0.15)
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
from morello.agents import checkpoint

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
