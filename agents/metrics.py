"""Metrics of a run: one record a line in metrics.jsonl, and the same as TensorBoard events.

A full disk costs records, never the training; a kill costs at most the line being written, and a resumed run
first forgets what came after its checkpoint.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import replace_file

METRICS, EVENTS = "metrics.jsonl", "tensorboard"


class Metrics:
    """The writer, for one process at a time. ``lost`` counts the records the disk refused."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path, self.events, self.warn = folder / METRICS, folder / EVENTS, warn
        self.lost = 0
        self._descriptor: int | None = None
        self._writer: Any = None  # SummaryWriter
        self._events_end = False
        self._purge: int | None = None

    def log(self, record: Mapping[str, Any]) -> None:
        """One line and, of its numbers if it has a "step", scalars.

        Values are strings or numbers (whatever ``float`` takes); non-finite ones become null, which JSON has.
        The operating system has the line when this returns.
        """
        plain = {name: _plain(value) for name, value in record.items()}
        self._append((json.dumps(plain, allow_nan=False) + "\n").encode())
        if "step" in plain:
            numbers = {k: float(v) for k, v in record.items() if k != "step" and not isinstance(v, str)}
            self.scalars(int(record["step"]), numbers)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars for TensorBoard alone."""

        def write(writer: Any) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        self._event(write)

    def video(self, name: str, frames: Any, step: int, fps: int = 15) -> None:
        """``frames`` (uint8 [T, H, W, 3], tensor or array) for TensorBoard, as a GIF among its images."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        images = [Image.fromarray(frame) for frame in np.asarray(frames)]
        buffer = BytesIO()
        images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=1000 // fps, loop=0)
        width, height = images[0].size
        gif = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue())
        summary = Summary(value=[Summary.Value(tag=name, image=gif)])
        self._event(lambda writer: writer.file_writer.add_summary(summary, step))

    def truncate(self, step: int) -> None:
        """Forget the records of later steps, in TensorBoard too, and any torn line. Call before logging."""
        self.close()
        before = self.path.read_bytes() if self.path.exists() else b""
        kept = [line for line, record in _lines(before) if record is not None and not _later(record, step)]
        if (after := b"".join(kept)) != before:
            replace_file(self.path, after)
        self._purge = step + 1

    def mend(self) -> None:
        """Cut off the last line if a kill tore it."""
        if self.path.exists():
            data = self.path.read_bytes()
            if not data.endswith(b"\n"):
                os.truncate(self.path, data.rfind(b"\n") + 1)

    def close(self) -> None:
        """Finish the files; ``log`` opens them again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        if self._writer is not None:
            self._event(lambda writer: writer.close())
        self._writer = None

    def _append(self, line: bytes) -> None:
        """All of a line or nothing of it."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            size = os.fstat(self._descriptor).st_size
            if os.write(self._descriptor, line) < len(line):
                os.ftruncate(self._descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not self.lost:
                self.warn(f"metrics are being lost: {self.path} cannot be written ({error.strerror})")
            self.lost += 1

    def _event(self, write: Callable[[Any], object]) -> None:
        """TensorBoard writes in a thread of its own, hands us its error at the next call, then takes no more."""
        if self._events_end:
            return
        try:
            if self._writer is None:
                from torch.utils import tensorboard  # takes a second

                self._writer = tensorboard.SummaryWriter(str(self.events), purge_step=self._purge)
            write(self._writer)
            self._writer.flush()
        except OSError as error:
            self._events_end = True
            if self._writer is not None:
                with contextlib.suppress(OSError):  # the same one again
                    self._writer.file_writer.close()  # ends the thread; the writer's own close would not get there
            self.warn(f"TensorBoard gets nothing more: {self.events} cannot be written ({error.strerror})")


def read_records(path: Path, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """All records of a metrics file. A torn last line is left out; so, with a warning, are other damaged ones."""
    lines = list(_lines(path.read_bytes())) if path.exists() else []
    damaged = [n for n, (line, record) in enumerate(lines, 1) if record is None and line.endswith(b"\n")]
    if damaged:
        warn(f"{path}: left out {len(damaged)} damaged lines, the first of them line {damaged[0]}")
    return [record for _, record in lines if record is not None]


def _lines(data: bytes) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Every line with its newline, and the record it holds, None if it is damaged."""
    for line in BytesIO(data):
        try:
            record = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            record = None
        yield line, record if isinstance(record, dict) else None


def _later(record: Mapping[str, Any], step: int) -> bool:
    at = record.get("step")
    return isinstance(at, int | float) and at > step


def _plain(value: Any) -> int | float | str | None:
    if isinstance(value, bool | int | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
