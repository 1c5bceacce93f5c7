"""One measurement: a training process, started, followed through its reports, and its steps per second."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .venvs import SkippedError, reason

SILENT_SECONDS = 180.0
"""Longest time without a report, before the first one too: then a process is ended."""
END_SECONDS = 30.0
"""Time in which a process that has trained long enough ends its simulators."""
STOP_SECONDS = 8.0
"""Time in which a process that is asked to stop ends its simulators; then it is killed."""


class Report(NamedTuple):
    """Environment steps so far, at a time of the monotonic clock."""

    steps: int
    seconds: float


def rate(reports: Sequence[Report], warmup: float) -> float:
    """Return the steps per second after the first ``warmup`` seconds, between two reports.

    Updates end at reports, so that the time between two of them is that of whole updates. ValueError if there are not
    two.
    """
    counted = [r for r in reports if r.seconds >= reports[0].seconds + warmup]
    if len(counted) < 2 or counted[-1].steps == counted[0].steps:
        raise ValueError(f"no whole update fell into the time after the first {warmup:g} s")
    return (counted[-1].steps - counted[0].steps) / (counted[-1].seconds - counted[0].seconds)


def measured(
    name: str,
    command: Sequence[str],
    settings: Mapping[str, Any],
    environment: Mapping[str, str],
    folder: Path,
    warmup: float,
    tell: Callable[[str], None],
) -> float:
    """Return the steps per second of ``command``, to which the ``settings`` are given as JSON.

    It works in ``folder``, which is kept for its output. Raises SkippedError, which names it by ``name``.
    """
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,  # so that it ends with all of its own processes
        )
    try:
        reports, code = _reports(process, tell), 0  # one that cannot end has trained all the same
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(END_SECONDS)
    except TimeoutError:
        raise SkippedError(f"{name} was not measured: no update ended within {SILENT_SECONDS:.0f} s.") from None
    finally:
        _end(process)
    if not reports or code:
        said = reason(log.read_text(encoding="utf-8", errors="replace"))
        raise SkippedError(f"{name} was not measured: it ended with exit code {code} ({said}).")
    try:
        return rate(reports, warmup)
    except ValueError as error:
        raise SkippedError(f"{name} was not measured: {error}; give it longer with --seconds.") from error


def _reports(process: subprocess.Popen[bytes], tell: Callable[[str], None]) -> list[Report]:
    """Return all reports of a process, once it closes its output. Raises TimeoutError if it is silent for too long."""
    assert process.stdout is not None
    found: list[Report] = []
    rest, told = b"", 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(SILENT_SECONDS):
                raise TimeoutError
            some = os.read(process.stdout.fileno(), 65536)
            if not some:
                return found
            *lines, rest = (rest + some).split(b"\n")
            found += [report for line in lines if (report := _report(line)) is not None]
            if found and time.monotonic() - told >= 1:
                told = time.monotonic()
                tell(f"{found[-1].steps:,} steps")


def _report(line: bytes) -> Report | None:
    """Return the report in a line, or None if it is something else: an import may print."""
    try:
        steps, seconds = json.loads(line)
    except (ValueError, TypeError):
        return None
    numbers = type(steps) is int and type(seconds) in (int, float)
    return Report(steps, seconds) if numbers else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has started, and close its pipe.

    It is asked first, so that it can end its simulators, which would otherwise leave their shared memory behind.
    """
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
