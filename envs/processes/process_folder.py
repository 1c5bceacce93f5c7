"""A working folder for simulators that are separate processes: they and their files are removed with this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

# Blocks until the pipe has no writer, that is, until this process has ended in any way; then kills all in the folder.
WATCH = r"""
cat >/dev/null
for process in /proc/[0-9]*; do
    [ "$(readlink "$process/cwd")" = "$1" ] && kill -9 "${process#/proc/}"
done
rm -rf "$1"
"""


class Folder:
    """Temporary folder ``path``, with a guard process that briefly outlives this one, even after kill -9.

    On Linux the guard finds the processes to end by their working folder; elsewhere it only removes the folder.
    """

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="morello-")).resolve()
        # Only this process holds the other end of the pipe: processes started later do not inherit it.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "guard", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must not reach the guard
        )

    def close(self) -> None:
        """Remove the folder; the processes that ran in it must have ended."""
        self._guard.kill()
        self._guard.communicate()
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def working_in(path: Path) -> Iterator[None]:
    """Change to ``path``, or to the root if it is gone, and back on exit, even if the original folder was removed."""
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.chdir(path if path.is_dir() else path.root)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def end(held: list[Any], folder: Folder | None, process: int) -> None:
    """Drop the last reference to a pool, which ends its simulators, and then remove their files.

    In a forked child nothing is ended: simulators and folder belong to the parent, ``process``, and the pool would wait
    for threads that do not exist in the child. The pool is therefore never released there.
    """
    if os.getpid() != process:
        for pool in held:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(pool))
        return
    held.clear()
    if folder is not None:
        folder.close()
