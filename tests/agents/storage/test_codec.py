"""Round trips of checkpoints: any tree, bit for bit."""

from __future__ import annotations

import json
import math
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from morello.agents.storage import checkpoint, codec
from morello.envs.errors import UserError

from ...support.checkpoints import same, tree
from ...support.checkpoints import two as two  # a fixture


class Pair(NamedTuple):
    left: Any
    right: Any


def tensors() -> st.SearchStrategy[torch.Tensor]:
    """Any dtype, shape and bit pattern (NaN payloads too), contiguous or not."""

    @st.composite
    def build(draw: Any) -> torch.Tensor:
        dtype = draw(st.sampled_from(list(codec.DTYPES)))
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
