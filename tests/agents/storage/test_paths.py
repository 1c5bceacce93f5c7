"""Paths that stay what they were, and are shown as one would type them."""

import os
from pathlib import Path

import pytest

from morello.__main__ import main
from morello.agents.storage.paths import same_directory, typed


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


@pytest.mark.parametrize("command", ["train --env counting:steps --steps 1", "eval r", "watch r", "bench curves r"])
def test_a_working_directory_that_was_deleted_is_said(command, tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(command.split()) == 2
    said = "morello: there is no working directory (No such file or directory): cd to one that exists\n"
    assert capsys.readouterr().err == said
