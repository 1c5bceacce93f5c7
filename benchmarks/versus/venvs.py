"""A virtual environment for each of the other libraries, made when it is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...agents.storage.files import replace_file
from ...envs.errors import UserError
from .libraries import Library

SAME = ("torch", "envpool")
"""Packages that every environment has in our version, so that the libraries are compared and not these."""
COMPLETE = "installed.json"
"""File in an environment, written last, with what was asked for; an environment without it is made anew."""
MARK = "made-by-morello-bench-versus"
"""File in every environment that this module has begun; only such folders are ever deleted."""
PROBE = "import json, sys, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


class SkippedError(Exception):
    """A library cannot be measured here; the message is a sentence that gives the reason."""


def requirements(library: Library) -> list[str]:
    """Return what pip is asked for. UserError if EnvPool is not installed here, without which there is no task."""
    try:
        return [library.requirement, *(f"{name}=={version(name).partition('+')[0]}" for name in SAME)]
    except PackageNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'morello[envs]'.") from error


def python_of(folder: Path, name: str, library: Library) -> Path:
    """Return the interpreter of a library's environment, ``folder/name``, after making it if it is missing.

    Raises SkippedError if it cannot be installed, and UserError if the place is taken or cannot be written.
    """
    place, wanted = folder.absolute() / name, requirements(library)
    python, complete = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), place / COMPLETE
    with _usable(place):
        if python.exists() and _asked_for(complete) == wanted:
            return python
        _begin(place)
    _call([sys.executable, "-m", "venv", str(place)], library, f"its environment {place} could not be made")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _call([*pip, *wanted], library, f"pip could not install {' '.join(wanted)}")
    with _usable(place):
        replace_file(complete, json.dumps(wanted).encode())
    return python


@contextmanager
def _usable(place: Path) -> Iterator[None]:
    """Turn an OSError in the block into a UserError that names the place."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{place} cannot be used: {why}; name another folder with --venvs.") from error


def _asked_for(complete: Path) -> Any:
    """Return what a complete environment was asked for, or None if it is not complete."""
    try:
        return json.loads(complete.read_text(encoding="utf-8")) if complete.is_file() else None
    except ValueError:
        return None


def _begin(place: Path) -> None:
    """Make an empty folder with our mark, in place of one that holds it. UserError if there is anything else."""
    if place.is_symlink():
        raise UserError(f"{place} is a link to something else: name another folder with --venvs.")
    if place.exists() and any(place.iterdir()):
        if not (place / MARK).is_file():
            raise UserError(f"{place} holds other files, which are left alone: name another folder with --venvs.")
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    (place / MARK).touch()


def versions_in(python: Path, library: Library) -> dict[str, str]:
    """Return the versions of a library in its environment, and of the packages that determine its speed."""
    names = [library.package, *SAME, "numpy", "gymnasium"]
    found: dict[str, str] = json.loads(subprocess.check_output([python, "-I", "-c", PROBE, *names], text=True))
    return found


def _call(command: list[str], library: Library, failed: str) -> None:
    """Run a command of the installation. Raises SkippedError with the last words of one that fails."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SkippedError(f"{library.title} was not measured: {failed} ({reason(done.stderr or done.stdout)}).")


def reason(text: str) -> str:
    """Return the line of an output that says what went wrong: the last that names an error, else the last."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1].rstrip(".")
