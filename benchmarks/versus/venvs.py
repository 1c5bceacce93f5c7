"""A virtual environment for each of the other libraries, made when it is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...envs.errors import UserError
from .libraries import Library

SAME = ("torch", "envpool")
"""Packages that every environment has in our version, so that the libraries are compared and not these."""
COMPLETE = "installed.json"
"""File in an environment, written last, with what was asked for; an environment without it is made anew."""
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
    try:
        if complete.is_file() and json.loads(complete.read_text(encoding="utf-8")) == wanted:
            return python
        if place.exists() and not (place / "pyvenv.cfg").is_file() and any(place.iterdir()):
            raise UserError(f"{place} holds other files: name another folder with --venvs.")
        if place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{place} cannot be used: {error.strerror}; name another folder with --venvs.") from error
    _call([sys.executable, "-m", "venv", str(place)], library, f"its environment {place} could not be made")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _call([*pip, *wanted], library, f"pip could not install {' '.join(wanted)}")
    complete.write_text(json.dumps(wanted), encoding="utf-8")
    return python


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
