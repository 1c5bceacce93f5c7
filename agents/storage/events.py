"""TensorBoard events of a run.

TensorBoard's own writer is not used: its thread ends with a traceback at the first disk error and accepts nothing
afterwards.
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
    """Writer of TensorBoard events. When a call returns, its data is with the operating system, or lost and counted by
    ``outage``.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder
        self.outage = Outage(f"TensorBoard gets nothing: {folder}", f"TensorBoard gets events in {folder}", warn)
        self._file: Appender | None = None
        self._forget_from: int | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers of one step by name."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        self._add(Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]), step)

    def video(self, name: str, frames: Any, step: int, fps: int = 15) -> None:
        """Write ``frames`` (uint8 [T, H, W, 3], tensor or array) as a GIF among the images."""
        from PIL import Image

        images = [Image.fromarray(frame) for frame in np.asarray(frames)]
        buffer = BytesIO()
        images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=1000 // fps, loop=0)
        self.image(name, buffer.getvalue(), step)

    def image(self, name: str, encoded: bytes, step: int) -> None:
        """Write an image, in the bytes of a PNG or GIF."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = Image.open(BytesIO(encoded)).size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
        self._add(Summary(value=[Summary.Value(tag=name, image=image)]), step)

    def forget_from(self, step: int) -> None:
        """Make TensorBoard hide the data of ``step`` and later."""
        self.close()
        self._forget_from = step

    def sync(self) -> None:
        """Write all data so far to the disk. OSError if the disk refuses."""
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Close the file; the next call begins another."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _add(self, summary: Any, step: int) -> None:
        with self.outage:
            if self._file is None:
                self._file = self._begun()
            self._file.append(_framed(step=step, summary=summary))

    def _begun(self) -> Appender:
        """Begin a new file, with its format version and the step from which earlier data is to be hidden. TensorBoard
        reads files in the order of their names.
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
    """Return an event in file format, with its length and checksums."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

    buffer = BytesIO()
    RecordWriter(buffer).write(Event(wall_time=time.time(), **fields).SerializeToString())
    return buffer.getvalue()
