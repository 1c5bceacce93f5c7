"""One run in a process of its own, seen from the parent: started, followed, and never repeated once it is finished."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...agents.config.config import Config
from ...agents.storage.files import make_folders
from ...agents.storage.read_json import read_json
from ...envs.errors import UserError
from ..records import code_digest, versions_of
from .peers import PACKAGES

CODE = ("agents", "auxiliaries", "backbones", "envs", "benchmarks/learning", "benchmarks/throughput")
"""Folders with the code on which a run depends."""
RUN = {
    "step": [int],
    "seconds": [float],
    "return": [float],
    "steps": int,
    "took_seconds": float,
    "took_cpu_seconds": float,
    "started": str,
}
"""What is kept of a finished run."""
STOP_SECONDS = 5.0


class RunFailedError(Exception):
    """A run ended without a result; the message gives the reason."""


def work_folder(root: Path, config: Config, preset: str, imports: list[str], own: bool = False) -> Path:
    """Return the folder for finished runs of these settings, with this code and these versions."""
    settings = dataclasses.asdict(config) | {"seed": None}
    same = {"config": settings, "own": own, "code": code_digest(CODE, imports), "versions": versions_of(PACKAGES)}
    digest = hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()
    return root / f"{config.env.replace(':', '-').replace('/', '-')}-{preset}-{digest[:12]}"


def finished(path: Path) -> dict[str, Any] | None:
    """Return a finished run, or None. UserError for a file that is none."""
    try:
        found: dict[str, Any] = read_json(path, RUN, "delete it, and the run is made again")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found


def make(
    path: Path, words: list[str], imports: list[str], agent: str, seed: int, threads: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Make a run and return it once it is stored in ``path``.

    ``words`` are those of the whole command and ``imports`` the files it imports. Raises UserError, or RunFailedError.
    """
    make_folders(path.parent)
    job = {"words": words, "imports": imports, "agent": agent, "seed": seed, "path": str(path)}
    said = path.with_suffix(".log")
    command = [sys.executable, "-m", f"{__package__}.child", json.dumps(job)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with said.open("wb") as log:
        # In a session of its own, so that Ctrl-C reaches the parent alone, which then ends it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            kind, text = json.loads(line)
            if kind == "refused":
                raise UserError(text)
            if kind == "failed":
                raise RunFailedError(f"{agent}, seed {seed}: {text}")
            tell(text)
        code = process.wait()
    finally:
        _end(process)
    found = finished(path)
    if code or found is None:
        raise RunFailedError(f"{agent}, seed {seed}, ended with exit code {code}: {said} says why.")
    said.unlink()
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that is still running, and close its pipe."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
