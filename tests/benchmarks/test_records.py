"""A result names the commit of the package that was measured, its command and no folder of the machine."""

import subprocess
from pathlib import Path

import pytest

import morello
from morello.agents.storage.provenance import ROOT
from morello.benchmarks.records import circumstances, command_line, output_folder
from morello.envs.errors import UserError


def test_the_commit_is_that_of_the_package():
    package = Path(morello.__file__).resolve().parent
    assert package == ROOT
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=package, capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip("not a git checkout")
    assert circumstances(())["commit"] == asked.stdout.strip()


def test_a_command_is_stored_without_folders_of_the_machine():
    words = [
        "a2c",
        "--out",
        "/home/me/out",
        "--env",
        "a b",
        "--work=/scratch/x",
        "--venvs",
        "v",
        "--seeds",
        "3",
        "--out",
    ]
    assert command_line("learning", words) == "morello bench learning a2c --env 'a b' --seeds 3"


def test_a_folder_in_which_nothing_can_be_written_is_refused_at_once(tmp_path, monkeypatch):
    assert output_folder(str(tmp_path / "new" / "one")).is_dir()
    assert not list((tmp_path / "new" / "one").iterdir())

    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match=rf"^Results cannot go to {tmp_path}: Permission denied; .* --out\.$"):
        output_folder(str(tmp_path))
