"""Environments of other libraries: made once, and skipped with a sentence where they cannot be."""

import json
import subprocess
from types import SimpleNamespace

import envpool
import pytest
import torch

from morello.benchmarks.versus import venvs
from morello.benchmarks.versus.libraries import LIBRARIES
from morello.benchmarks.versus.venvs import COMPLETE, MARK, SkippedError, python_of, reason, requirements
from morello.envs.errors import UserError

LIBRARY = LIBRARIES["sample-factory"]


@pytest.fixture
def calls(monkeypatch):
    """The commands that would be run, and what they answer."""
    made = SimpleNamespace(commands=[], returncode=0, stderr="")

    def run(command, **options):
        assert "PYTHONPATH" not in options["env"]
        made.commands.append(command)
        if "venv" in command:
            venv = venvs.Path(command[-1])
            assert (venv / MARK).exists()  # so that one that is interrupted is made anew
            (venv / "pyvenv.cfg").touch()
            (venv / "bin").mkdir()
            (venv / "bin" / "python").touch()
        failed = made.returncode if "pip" in command else 0
        return subprocess.CompletedProcess(command, failed, "", made.stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return made


def test_every_environment_has_our_torch_and_envpool():
    for library in LIBRARIES.values():
        own, *same = requirements(library)
        assert own.startswith(library.package)
        assert same == [f"torch=={torch.__version__.partition('+')[0]}", f"envpool=={envpool.__version__}"]


def test_an_environment_is_made_once(tmp_path, calls, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    python = python_of(tmp_path / "new", "name", LIBRARY)
    assert python.parent.parent == tmp_path / "new" / "name"
    make, install = calls.commands
    assert make[1:] == ["-m", "venv", str(tmp_path / "new" / "name")]
    assert install[0] == str(python)
    assert install[-3:] == requirements(LIBRARY)
    assert python_of(tmp_path / "new", "name", LIBRARY) == python
    assert len(calls.commands) == 2


def test_one_of_other_versions_is_made_anew(tmp_path, calls):
    python_of(tmp_path, "name", LIBRARY)
    (tmp_path / "name" / COMPLETE).write_text(json.dumps(["older"]))
    python_of(tmp_path, "name", LIBRARY)
    assert len(calls.commands) == 4


def test_what_cannot_be_installed_is_skipped_with_a_sentence(tmp_path, calls):
    calls.returncode, calls.stderr = 1, "WARNING: x\nERROR: No matching distribution found for it\n\nnotice: y\n"
    for _ in range(2):  # it is tried again
        with pytest.raises(SkippedError) as raised:
            python_of(tmp_path, "name", LIBRARY)
    wanted = " ".join(requirements(LIBRARY))
    why = "ERROR: No matching distribution found for it"
    assert str(raised.value) == f"Sample Factory was not measured: pip could not install {wanted} ({why})."


def test_a_place_that_is_taken_is_left_alone(tmp_path, calls):
    (tmp_path / "name").mkdir()
    (tmp_path / "name" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"other files.*--venvs"):
        python_of(tmp_path, "name", LIBRARY)
    with pytest.raises(UserError, match=r"cannot be used.*--venvs"):
        python_of(tmp_path / "name" / "thesis.tex", "name", LIBRARY)
    assert calls.commands == []
    assert (tmp_path / "name" / "thesis.tex").exists()


def test_an_environment_of_the_users_is_left_alone(tmp_path, calls):
    own = tmp_path / "name"
    own.mkdir()
    (own / "pyvenv.cfg").touch()
    with pytest.raises(UserError, match=rf"^{own} holds other files, .*--venvs\.$"):
        python_of(tmp_path, "name", LIBRARY)
    assert (own / "pyvenv.cfg").exists()
    assert calls.commands == []


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_is_left_alone(tmp_path, calls, target):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / MARK).touch()
    (tmp_path / "name").symlink_to(tmp_path / target)
    with pytest.raises(UserError, match=rf"^{tmp_path / 'name'} is a link .*--venvs\.$"):
        python_of(tmp_path, "name", LIBRARY)
    assert (tmp_path / "there" / MARK).exists()
    assert calls.commands == []


@pytest.mark.parametrize("damage", ["written", "encoded", "moved"])
def test_a_damaged_environment_is_made_anew(tmp_path, calls, damage):
    python = python_of(tmp_path, "name", LIBRARY)
    if damage == "moved":  # Python, to which a link of the environment leads
        python.unlink()
        python.symlink_to(tmp_path / "gone")
    else:
        (tmp_path / "name" / COMPLETE).write_bytes(b'["torch' if damage == "written" else b"\xff")
    assert python_of(tmp_path, "name", LIBRARY).is_file()
    assert len(calls.commands) == 4
    assert json.loads((tmp_path / "name" / COMPLETE).read_text()) == requirements(LIBRARY)


def test_an_error_without_a_reason_is_said_in_its_own_words(tmp_path, calls, monkeypatch):
    def fail(path):
        raise OSError("it is odd")

    python_of(tmp_path, "name", LIBRARY)
    (tmp_path / "name" / COMPLETE).unlink()
    monkeypatch.setattr(venvs.shutil, "rmtree", fail)
    with pytest.raises(UserError, match="cannot be used: it is odd; name another"):
        python_of(tmp_path, "name", LIBRARY)


def test_the_reason_is_the_line_that_names_an_error():
    assert reason("a\n  ImportError:   no\tlibrary.\nb\n") == "ImportError: no library"
    assert reason("a\nb\n") == "b"
    assert reason(" \n") == "it said nothing"
