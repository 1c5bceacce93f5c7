"""Lock of a run folder for a single writer, and detection of a folder that was moved or replaced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from ...envs.errors import UserError
from .files import open_regular

LOCK = "lock"
LINGER_SECONDS = 1.0
"""Seconds for which child processes of a killed process may still hold its lock."""


class FolderMovedError(OSError):
    """A run folder was moved, deleted or taken over during the run. The message says what was saved, and where."""


def _take(file: int) -> None:
    """Lock an open file. BlockingIOError if another process holds it and does not release it shortly, as a killed one
    would.
    """
    ends = time.monotonic() + LINGER_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.02)
        else:
            return


class Lock:
    """A flock on a file of a folder. It is released when the process ends for any reason; forked children do not
    inherit it.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder / LOCK
        self._file = open_regular(self.path, os.O_RDWR | os.O_CREAT)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, _close, self._file, self._folder)
        try:
            _take(self._file)
        except BlockingIOError as error:
            pid = os.pread(self._file, 20, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise UserError(f"{folder} is in use by process {pid}: wait until it ends, or choose another folder") from (
                error
            )
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                self.release()
                raise
            warn(f"{folder} cannot be locked ({error.strerror}): see that nothing else writes there")
        _LOCKS.add(self)
        with contextlib.suppress(OSError):  # a full disk: the other process's message lacks the pid
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    @property
    def held(self) -> bool:
        """Hold the lock until it is released."""
        return self._close.alive

    def release(self) -> None:
        """Release the lock; calling it again has no effect."""
        self._close()

    def folder_now(self) -> Path | None:
        """Return the current path of the locked folder; None if it was deleted, or if that cannot be determined."""
        if _same(self.path.parent, self._folder):
            return self.path.parent
        try:
            moved = Path(os.readlink(f"/proc/self/fd/{self._folder}"))
        except OSError:  # not supported on this system
            return None
        return moved if _same(moved, self._folder) else None

    def taken_over(self) -> bool:
        """Return whether the lock was replaced by another file, which another process may hold."""
        now = self.folder_now()
        return now is not None and os.path.lexists(now / LOCK) and not _same(now / LOCK, self._file)

    def lost(self) -> bool:
        """Return whether the lock's file was deleted from the folder, so that another process may begin there."""
        now = self.folder_now()
        return now is None or not os.path.lexists(now / LOCK)


def _same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _leave_to_parent() -> None:
    """Close a forked child's copies of the locks, so that only the parent holds them."""
    for lock in _LOCKS:
        lock.release()


_LOCKS: weakref.WeakSet[Lock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_leave_to_parent)
