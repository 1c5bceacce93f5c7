"""Writing of results, and the conditions they depend on: commit, hardware, environment variables, versions."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..agents.storage.git import checkout
from ..agents.storage.provenance import ROOT, hardware, versions
from ..envs.errors import UserError

VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "LP_NUM_THREADS")
"""Environment variables that determine how torch's and Mesa's threads run and wait."""
PLACES = ("--out", "--work", "--venvs")
"""Flags whose values are folders of one machine, on which no result depends."""


def command_line(benchmark: str, words: Sequence[str]) -> str:
    """Return the command that makes a result again, without the folders in which it works and writes."""
    kept, given = [], iter(words)
    for word in given:
        flag, equals, _ = word.partition("=")
        if flag not in PLACES:
            kept.append(word)
        elif not equals:
            next(given, None)
    return shlex.join(["morello", "bench", benchmark, *kept])


def circumstances(packages: Sequence[str]) -> dict[str, Any]:
    """Return the conditions of a result: commit, hardware, environment variables, versions, also of ``packages``."""
    code = checkout(ROOT, root=True)
    return {
        "commit": code and code["commit"],
        "modified": code and bool(code["diff"]),
        "hardware": hardware(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "versions": versions_of(packages),
    }


def versions_of(packages: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of Python, morello, the packages that determine results, and ``packages``."""
    return versions() | {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def code_digest(folders: Sequence[str], files: Sequence[str] = ()) -> str:
    """Return a digest of the code on which a result depends: ours in ``folders``, and other ``files``."""
    own = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    digest = hashlib.sha256()
    for name, file in [(str(f.relative_to(ROOT)), f) for f in own] + [(f, Path(f)) for f in files]:
        text = file.read_bytes()
        digest.update(f"{name}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()


def output_folder(out: str) -> Path:
    """Return the folder ``out``, which is created if missing; raise UserError if nothing can be written there."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"Results cannot go to {folder}: {why}; name another folder with --out.") from error
    return folder


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Raise UserError where results cannot be written."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{path} cannot be written: {why}; name another folder with --out.") from error


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, atomically: first under another name, then renamed."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(result, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
