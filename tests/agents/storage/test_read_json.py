"""JSON that anybody may have written: of its shape, or a sentence that says where it is not."""

import json
import os
from typing import Any

import msgspec
import pytest

from morello.agents.config.validation import converted
from morello.agents.storage.config_file import read_config
from morello.agents.storage.files import is_there, make_folders, named, read_regular, remove
from morello.agents.storage.read_json import parse, read_json
from morello.envs.errors import UserError


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (3, int),
        (-(2**63) + 1, int),
        (3, float),
        (2.5, float),
        (1e99, float),
        ("é", str),
        (True, bool),
        (None, None),
        ([], [int]),
        ([1, 2], [int]),
        ([1, None], [(int, None)]),
        ({}, {str: int}),
        ({"a": 1}, {str: int}),
        ({"a": 1, "more": []}, {"a": int}),
        ({}, {"a?": int}),
        ({"a": 1}, {"a?": int}),
        ({"x": [{"y": None}]}, Any),
        ({"a": {"b": [1.5]}}, {"a": ({"b": [float]}, None)}),
        ({"a": None}, {"a": ({"b": [float]}, None)}),
    ],
)
def test_what_fits(value, shape):
    assert parse(json.dumps(value).encode(), shape) == value


@pytest.mark.parametrize(
    ("text", "shape", "where"),
    [
        ("true", int, "it"),
        ("1.0", int, "it"),
        (f"{2**63}", int, "it"),
        ("1" + "0" * 400, float, "it"),
        ("1e100", float, "it"),
        ("NaN", float, "it"),
        ("Infinity", float, "it"),
        ("true", float, "it"),
        ('"1"', float, "it"),
        ("1", str, "it"),
        ("null", str, "it"),
        ("0", None, "it"),
        ("{}", [int], "it"),
        ("[]", {str: int}, "it"),
        ("{}", {"a": Any}, "a"),
        ('{"a": {"b": [1, "x"]}}', {"a": {"b": [float]}}, "a/b/1"),
        ('{"a": {"b": 3}}', {"a": ({"b": [float]}, None)}, "a/b"),
        ('{"a": "x"}', {"a?": int}, "a"),
        ('{"k": [1]}', {str: int}, "k"),
    ],
)
def test_what_does_not_fit_is_said_to_be_where_it_is(text, shape, where):
    with pytest.raises(ValueError, match=f"^{where} is not what it should be$"):
        parse(text.encode(), shape)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe\xfd", "no JSON"),
        (b"1" * 10_000, "no JSON"),
        (b"[" * 1_000_000, "nested"),
        (b"[" * 200 + b"]" * 200, "nested more than 100 deep"),
        (b'{"a": ["\\u0000"]}', "no text"),
        (b'{"\\ud800": 1}', "no text"),
    ],
)
def test_what_is_no_json_of_anybodys(data, said):
    with pytest.raises(ValueError, match=said):
        parse(data)


def test_a_file_is_named_and_the_way_out(tmp_path):
    path = tmp_path / "f.json"
    with pytest.raises(FileNotFoundError):
        read_json(path, int, "make it")
    path.write_text("[]")
    with pytest.raises(UserError, match=r"f\.json is damaged \(it is not what it should be\): make it$"):
        read_json(path, int, "make it")
    path.write_text(" " * 100 + "1")
    assert read_json(path, int, "make it") == 1
    with pytest.raises(UserError, match="cannot be read: it is larger than the 100 bytes"):
        read_json(path, int, "make it", limit=100)


def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{}")
    path.chmod(0)
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:  # pytest's own, which are its owner's alone
        if parent.stat().st_uid == os.getuid() and parent.name != "tmp":
            parent.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match=r"config\.json cannot be read: Permission denied"):
            read_config(tmp_path)
    finally:
        if root:
            os.seteuid(0)


def test_a_list_that_is_longer_than_its_setting_is_not_cut():
    assert converted([36, 36], tuple[int, int] | None) == (36, 36)
    assert converted([1, 2, 3], tuple[int, ...]) == (1, 2, 3)
    for wrong in ([36], [36, 36, 36]):
        with pytest.raises(msgspec.ValidationError):
            converted(wrong, tuple[int, int] | None)


def test_files_and_links(tmp_path):
    make_folders(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "f").write_bytes(b"1234")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")
    assert read_regular(tmp_path / "link" / "b" / "f", 4) == b"1234"
    assert is_there(tmp_path / "nowhere")
    assert not is_there(tmp_path / "a" / "b" / "f" / "g")
    for name in ("link", "nowhere"):
        remove(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert named(str(tmp_path)) == tmp_path
    remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
