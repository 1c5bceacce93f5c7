"""Appending of complete pieces to a file, on a disk that may temporarily refuse writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from .files import open_regular, sync_folder


class Appender:
    """Appends to a file, which is opened with the first piece; for one process at a time. A piece is with the operating
    system when ``append`` returns, and on the disk after ``sync``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._whole = 0  # bytes of complete pieces in the file

    def append(self, piece: bytes) -> None:
        """Append all of ``piece`` or, with an OSError, nothing."""
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        if os.fstat(self._descriptor).st_size != self._whole:  # an incomplete piece that could not be cut off
            os.ftruncate(self._descriptor, self._whole)
        if os.write(self._descriptor, piece) < len(piece):
            os.ftruncate(self._descriptor, self._whole)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole += len(piece)

    def sync(self) -> None:
        """Write everything appended so far to the disk. OSError if the disk refuses."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; ``append`` reopens it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> None:
        new = not os.path.lexists(self.path)
        self._descriptor = open_regular(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._whole = os.fstat(self._descriptor).st_size
        if new:
            sync_folder(self.path.parent)


class Outage:
    """Suppresses the OSErrors of failed writes, used as ``with outage:`` around each write. The first failure is
    reported as ``ill``, with its reason, and the next successful write as ``well``. ``lost`` counts all failed writes.
    """

    def __init__(self, ill: str, well: str, warn: Callable[[str], None]) -> None:
        self.ill, self.well, self.warn = ill, well, warn
        self.lost = 0
        self._before: int | None = None  # how many were lost before this outage

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, OSError):
            return False
        if error is None:
            if self._before is not None:
                self.warn(f"{self.well} again; {self.lost - self._before} records are missing")
            self._before = None
            return False
        if self._before is None:
            self._before = self.lost
            self.warn(f"{self.ill} cannot be written ({error.strerror or error}); each record tries again")
        self.lost += 1
        return True
