"""Checkpoints: which are kept, which is taken, and what broken files lead to."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import morello
from morello.agents.storage import checkpoint, checkpoint_folder, codec
from morello.envs.errors import UserError

from ...support.checkpoints import FILES, names, same, tree
from ...support.checkpoints import two as two  # a fixture
from ...support.forging import forge

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
    verify, calls = checkpoint_folder.verify, []

    def overtaken(path: Path, step: int) -> bytes:
        calls.append(step)
        if len(calls) == 1:
            checkpoint.save(two, 300, tree(300), keep=1)
        return verify(path, step)

    monkeypatch.setattr(checkpoint_folder, "verify", overtaken)
    messages: list[str] = []
    assert same(checkpoint.load(two, warn=messages.append), (300, tree(300)))
    assert messages == []


def test_a_reader_survives_that_a_checkpoint_is_replaced(two: Path, monkeypatch: Any) -> None:
    """Its hashes were right, and then its tensors are another's."""
    tree_of, calls = checkpoint_folder._tree, []

    def replaced(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            checkpoint.save(two, 200, tree(201), keep=2)
        return tree_of(*arguments)

    monkeypatch.setattr(checkpoint_folder, "_tree", replaced)
    messages: list[str] = []
    assert same(checkpoint.load(two, warn=messages.append), (200, tree(201)))
    assert len(calls) == 2
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


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deeply_nested_json(two: Path, depth: int) -> None:
    text = b'{"format": 1, "morello": "1", "tree": ' + b"[" * depth + b"]" * depth + b"}"
    for name in ("manifest.json", "tree.json"):
        forge(two / "step_000000000200", "tree.json", text)
        if name == "manifest.json":
            (two / "step_000000000200" / name).write_bytes(text)
        messages: list[str] = []
        assert checkpoint.load(two, warn=messages.append)[0] == (100 if depth > 300 or name == "manifest.json" else 200)
        checkpoint.save(two, 200, tree(200), keep=2)


def test_a_tensor_that_is_named_over_and_over_is_not_copied_over_and_over(two: Path) -> None:
    data = {"format": 1, "morello": "1", "tree": [{"tensor": "weights"}] * 1_000_000}
    forge(two / "step_000000000200", "tree.json", json.dumps(data).encode())
    messages: list[str] = []
    assert checkpoint.load(two, warn=messages.append)[0] == 100
    assert "is there twice" in messages[0]


def test_what_is_nested_too_deep_to_be_read_is_not_written(tmp_path: Path) -> None:
    within: Any = 1
    for _ in range(codec.DEEPEST):
        within = {"x": within}
    checkpoint.save(tmp_path, 1, within, keep=1)
    assert same(checkpoint.load(tmp_path)[1], within)
    with pytest.raises(TypeError, match="nested more than"):
        checkpoint.save(tmp_path, 2, {"x": within}, keep=1)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FILES)
def test_an_endless_file_is_not_read_to_its_end(two: Path, name: str) -> None:
    os.truncate(two / "step_000000000200" / name, 2**42)  # a hole: nothing is written
    messages: list[str] = []
    assert checkpoint.load(two, warn=messages.append)[0] == 100
    assert name in messages[0]


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
