"""TensorBoard events of a run.

TensorBoard's own writer has a thread that ends, with a traceback, at the first error of the disk, and takes no more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .appender import Appender, Outage
from .files import make_folders

EVENTS = "tensorboard"


class Events:
    """The writer. The operating system has what is told when a call returns, or it is lost, counted by ``outage``."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder
        self.outage = Outage(f"TensorBoard gets nothing: {folder}", f"TensorBoard gets events in {folder}", warn)
        self._file: Appender | None = None
        self._forget_from: int | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name, of one step."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        self._add(Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]), step)

    def video(self, name: str, frames: Any, step: int, fps: int = 15) -> None:
        """``frames`` (uint8 [T, H, W, 3], tensor or array) as a GIF among the images."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        images = [Image.fromarray(frame) for frame in np.asarray(frames)]
        buffer = BytesIO()
        images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=1000 // fps, loop=0)
        width, height = images[0].size
        gif = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue())
        self._add(Summary(value=[Summary.Value(tag=name, image=gif)]), step)

    def forget_from(self, step: int) -> None:
        """Have TensorBoard hide what was told of ``step`` and later."""
        self.close()
        self._forget_from = step

    def sync(self) -> None:
        """What was told is on the disk when this returns. OSError where the disk refuses."""
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Finish the file; the next call begins another."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _add(self, summary: Any, step: int) -> None:
        with self.outage:
            if self._file is None:
                self._file = self._begun()
            self._file.append(_framed(step=step, summary=summary))

    def _begun(self) -> Appender:
        """A new file, which says of what version it is and what to forget. TensorBoard reads files in the order of
        their names.
        """
        from tensorboard.compat.proto.event_pb2 import SessionLog  # type: ignore[import-untyped]

        make_folders(self.path)
        now = time.time_ns() // 1000
        name = f"events.out.tfevents.{now // 10**6:010d}.{now % 10**6:06d}.{os.getpid()}"
        file, head = Appender(self.path / name), _framed(file_version="brain.Event:2")
        if self._forget_from is not None:
            head += _framed(step=self._forget_from, session_log=SessionLog(status=SessionLog.START))
        try:
            file.append(head)
        except OSError:
            file.close()
            if file.path.exists():
                file.path.unlink()
            raise
        self._forget_from = None
        return file


def _framed(**fields: Any) -> bytes:
    """An event as it lies in a file, with its length and checksums."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    buffer = BytesIO()
    RecordWriter(buffer).write(Event(wall_time=time.time(), **fields).SerializeToString())
    return buffer.getvalue()
