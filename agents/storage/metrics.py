"""Metrics of a run: one record a line in metrics.jsonl, and the same as TensorBoard events.

A full disk costs records, never the training, and they are taken up again when there is room; a kill costs at most the
line being written, and a resumed run first forgets what came after its checkpoint.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from ...envs.errors import UserError
from .appender import Appender, Outage
from .events import EVENTS, Events
from .files import open_regular, read_regular, replace_file
from .read_json import parse

METRICS = "metrics.jsonl"
LARGEST = 2**32
"""Bytes: ten years of a record a minute, or a hole that somebody left."""
LONGEST = 2**22
"""Bytes of a line; a thousand times what there is."""


class Metrics:
    """The writer, for one process at a time. ``lost`` counts the records the disk refused."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path, self.warn = folder / METRICS, warn
        self.events = Events(folder / EVENTS, warn)
        self._outage = Outage(f"metrics are being lost: {self.path}", f"metrics go to {self.path}", warn)
        self._file = Appender(self.path)

    def log(self, record: Mapping[str, Any]) -> None:
        """One line and, of its numbers if it has a "step", scalars.

        Values are strings or numbers (whatever ``float`` takes); non-finite ones become null, which JSON has.
        The operating system has the line when this returns.
        """
        plain = {name: _plain(value) for name, value in record.items()}
        with self._outage:
            self._file.append((json.dumps(plain, allow_nan=False) + "\n").encode())
        if "step" in plain:
            numbers = {k: float(v) for k, v in record.items() if k != "step" and not isinstance(v, str)}
            self.scalars(int(record["step"]), numbers)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars for TensorBoard alone."""
        self.events.scalars(step, values)

    def video(self, name: str, frames: Any, step: int, fps: int = 15) -> None:
        """``frames`` (uint8 [T, H, W, 3], tensor or array) for TensorBoard, as a GIF among its images."""
        self.events.video(name, frames, step, fps)

    @property
    def lost(self) -> int:
        """Records that the disk refused."""
        return self._outage.lost

    def truncate(self, step: int) -> list[dict[str, Any]]:
        """Forget the records of later steps, in TensorBoard too, and any torn line. Call before logging. What is left.
        """
        self.close()
        before = read_regular(self.path, LARGEST) if os.path.lexists(self.path) else b""
        lines = [(line, r) for line, r in _lines(before) if r is not None and not _later(r, step)]
        if (after := b"".join(line for line, _ in lines)) != before:
            replace_file(self.path, after)
        self.events.forget_from(step + 1)
        return [record for _, record in lines if record is not None]

    def mend(self) -> None:
        """Cut off the last line if a kill tore it."""
        if os.path.lexists(self.path):
            descriptor = open_regular(self.path, os.O_RDWR)
            try:
                _cut(descriptor)
            finally:
                os.close(descriptor)

    def sync(self) -> None:
        """What was logged is on the disk when this returns; a warning where the disk refuses."""
        for file in (self._file, self.events):
            try:
                file.sync()
            except OSError as error:
                self.warn(f"{file.path} may lack records after a power loss: {error.strerror}")

    def close(self) -> None:
        """Finish the files; ``log`` opens them again."""
        self.sync()
        self._file.close()
        self.events.close()

    def finish(self) -> None:
        """Say what was lost, at the end of a run."""
        for outage, path in ((self._outage, self.path), (self.events.outage, self.events.path)):
            if outage.lost:
                self.warn(f"{path} lacks {outage.lost} records that the disk refused")
                outage.lost = 0


def _cut(descriptor: int) -> None:
    """Cut a file off after its last line break. OSError where there is none in the last `LONGEST` bytes."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - LONGEST)
    whole = begin + os.pread(descriptor, LONGEST, begin).rfind(b"\n") + 1
    if whole == begin > 0:
        said = f"{METRICS} has no line break in its last {LONGEST:,} bytes: restore it from a copy"
        raise OSError(errno.EINVAL, said)
    if whole < size:
        os.ftruncate(descriptor, whole)


def read_records(path: Path, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """All records of a metrics file. A torn last line is left out; so, with a warning, are other damaged ones."""
    try:
        lines = list(_lines(read_regular(path, LARGEST)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    damaged = [n for n, (line, record) in enumerate(lines, 1) if record is None and line.endswith(b"\n")]
    if damaged:
        warn(f"{path}: left out {len(damaged)} damaged lines, the first of them line {damaged[0]}")
    return [record for _, record in lines if record is not None]


def _lines(data: bytes) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Every line with its newline, and the record it holds, None if it is damaged."""
    for line in BytesIO(data):
        try:
            record = parse(line) if line.endswith(b"\n") else None
        except ValueError:
            record = None
        yield line, record if is_record(record) else None


def is_record(found: Any) -> bool:
    """Numbers, words and nothing else, and a step that is a number if there is one."""
    if not isinstance(found, dict):
        return False
    whole = all((isinstance(v, int) and abs(v) < 2**63) or isinstance(v, str | float | None) for v in found.values())
    step = found.get("step", 0)
    return whole and isinstance(step, int | float) and math.isfinite(step)


def _later(record: Mapping[str, Any], step: int) -> bool:
    at = record.get("step")
    return at is not None and bool(at > step)


def _plain(value: Any) -> int | float | str | None:
    if isinstance(value, bool | int | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
