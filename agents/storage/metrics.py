"""Metrics of a run: one record per line in metrics.jsonl, and the same as TensorBoard events.

A full disk costs records, never the training, and logging continues when there is space again; a kill costs at most the
line being written. A resumed run first deletes the records after its checkpoint.
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
"""Maximum size of the file in bytes: ten years of one record per minute. A larger file is damaged or malicious."""
LONGEST = 2**22
"""Maximum length of a line in bytes; a thousand times the usual length."""


class Metrics:
    """Writer of metrics, for one process at a time. ``lost`` counts the records the disk refused."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path, self.warn = folder / METRICS, warn
        self.events = Events(folder / EVENTS, warn)
        self._outage = Outage(f"metrics are being lost: {self.path}", f"metrics go to {self.path}", warn)
        self._file = Appender(self.path)

    def log(self, record: Mapping[str, Any]) -> None:
        """Write one line and, if it has a "step", its numbers as scalars. Values are strings or numbers (anything
        ``float`` accepts); non-finite ones become null, since JSON has no such numbers. The line is with the operating
        system when this returns.
        """
        plain = {name: _plain(value) for name, value in record.items()}
        with self._outage:
            self._file.append((json.dumps(plain, allow_nan=False) + "\n").encode())
        if "step" in plain:
            numbers = {k: float(v) for k, v in record.items() if k != "step" and not isinstance(v, str)}
            self.scalars(int(record["step"]), numbers)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars to TensorBoard only."""
        self.events.scalars(step, values)

    def video(self, name: str, frames: Any, step: int, fps: int = 15) -> None:
        """Write ``frames`` (uint8 [T, H, W, 3], tensor or array) to TensorBoard, as a GIF among its images."""
        self.events.video(name, frames, step, fps)

    def picture(self, name: str, png: bytes, step: int) -> None:
        """Replace the file NAME.png, atomically, and write the picture to TensorBoard."""
        path = self.path.with_name(f"{name}.png")
        try:
            replace_file(path, png)
        except OSError as error:
            self.warn(f"{path} was not written: {error.strerror or error}")
        self.events.image(name, png, step)

    @property
    def lost(self) -> int:
        """Return the number of records that the disk refused."""
        return self._outage.lost

    def truncate(self, step: int) -> list[dict[str, Any]]:
        """Delete the records of later steps, in TensorBoard too, and any incomplete line. Call before logging. Return
        the remaining records.
        """
        self.close()
        before = read_regular(self.path, LARGEST) if os.path.lexists(self.path) else b""
        lines = [(line, r) for line, r in _lines(before) if r is not None and not _later(r, step)]
        if (after := b"".join(line for line, _ in lines)) != before:
            replace_file(self.path, after)
        self.events.forget_from(step + 1)
        return [record for _, record in lines if record is not None]

    def mend(self) -> None:
        """Cut off the last line if a kill left it incomplete."""
        if os.path.lexists(self.path):
            descriptor = open_regular(self.path, os.O_RDWR)
            try:
                _cut(descriptor)
            finally:
                os.close(descriptor)

    def sync(self) -> None:
        """Write everything logged so far to the disk; warn if the disk refuses."""
        for file in (self._file, self.events):
            try:
                file.sync()
            except OSError as error:
                self.warn(f"{file.path} may lack records after a power loss: {error.strerror}")

    def close(self) -> None:
        """Close the files; ``log`` reopens them."""
        self.sync()
        self._file.close()
        self.events.close()

    def finish(self) -> None:
        """Report lost records at the end of a run."""
        for outage, path in ((self._outage, self.path), (self.events.outage, self.events.path)):
            if outage.lost:
                self.warn(f"{path} lacks {outage.lost} records that the disk refused")
                outage.lost = 0


def _cut(descriptor: int) -> None:
    """Cut a file off after its last line break. OSError if there is none in the last `LONGEST` bytes."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - LONGEST)
    whole = begin + os.pread(descriptor, LONGEST, begin).rfind(b"\n") + 1
    if whole == begin > 0:
        said = f"{METRICS} has no line break in its last {LONGEST:,} bytes: restore it from a copy"
        raise OSError(errno.EINVAL, said)
    if whole < size:
        os.ftruncate(descriptor, whole)


def read_records(path: Path, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return all records of a metrics file. An incomplete last line is left out, as are, with a warning, other damaged
    lines.
    """
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
    """Iterate over the lines with their newlines, each with its record, or None if it is damaged."""
    for line in BytesIO(data):
        try:
            record = parse(line) if line.endswith(b"\n") else None
        except ValueError:
            record = None
        yield line, record if is_record(record) else None


def is_record(found: Any) -> bool:
    """Return whether a value is a record: only numbers and strings, and a numeric step if it has one."""
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
