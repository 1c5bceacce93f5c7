"""One writer a run folder, and whether the folder is still where it was."""

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
"""How long what a killed process was about to start may go on holding its lock."""


class FolderMovedError(OSError):
    """A run folder was moved, deleted or taken over in mid-run. The message says what was saved, and where."""


def _take(file: int) -> None:
    """Lock an open file. BlockingIOError if another process holds it, and not only because it has just been killed."""
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
    """flock on a file of a folder: gone with the process, however it ends; what it forks does not inherit it."""

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
        with contextlib.suppress(OSError):  # a full disk: only the other's message is poorer for it
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    @property
    def held(self) -> bool:
        """Until released."""
        return self._close.alive

    def release(self) -> None:
        """Let go; once is enough, more is harmless."""
        self._close()

    def folder_now(self) -> Path | None:
        """Where the locked folder is by now; None if it was deleted, or if that cannot be told."""
        if _same(self.path.parent, self._folder):
            return self.path.parent
        try:
            moved = Path(os.readlink(f"/proc/self/fd/{self._folder}"))
        except OSError:  # no such thing on this system
            return None
        return moved if _same(moved, self._folder) else None

    def taken_over(self) -> bool:
        """Whether another file lies where the lock was, so that another process may hold it."""
        now = self.folder_now()
        return now is not None and os.path.lexists(now / LOCK) and not _same(now / LOCK, self._file)

    def lost(self) -> bool:
        """Whether the lock's file is gone from the folder, so that another process may begin there."""
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
    """In a forked child: once its copies are closed the locks are the parent's alone."""
    for lock in _LOCKS:
        lock.release()


_LOCKS: weakref.WeakSet[Lock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_leave_to_parent)
