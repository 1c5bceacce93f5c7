"""Paths that stay what they were, and are shown as one would type them."""

import os
from pathlib import Path

import pytest

from morello.agents.paths import same_directory, typed


def test_a_path_is_shown_as_one_would_type_it():
    here = Path("/home/me")
    assert typed(Path("/home/me/runs/a"), here) == "runs/a"
    assert typed(Path("/data/my run"), here) == "'/data/my run'"
    assert typed(Path("/home/me/it's"), here) == """'it'"'"'s'"""
    assert typed(Path("/home/meta"), here) == "/home/meta"


def test_the_directory_afterwards_is_the_one_before_even_if_it_was_renamed(tmp_path, monkeypatch):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    monkeypatch.chdir(before)

    def wander():
        with same_directory() as here:
            assert here == before
            os.chdir("/")
            before.rename(after)
            raise KeyError("whatever happens")

    with pytest.raises(KeyError):
        wander()
    assert Path.cwd() == after
