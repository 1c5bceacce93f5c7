"""A folder for simulators that are processes of their own: they start in it, write into it, and end with us."""

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

# Reads until nobody writes any more: we are gone, however that came about. Then it ends all who run in the folder.
WATCH = r"""
cat >/dev/null
for process in /proc/[0-9]*; do
    [ "$(readlink "$process/cwd")" = "$1" ] && kill -9 "${process#/proc/}"
done
rm -rf "$1"
"""


class Folder:
    """``path``, and a guard beside it that outlives a kill -9 of this process by a moment.

    The processes that run in the folder are known by just that, on Linux; elsewhere the guard removes the folder only.
    """

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="morello-")).resolve()
        # Only we hold the pipe's other end: what we start later does not inherit it.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "guard", str(self.path)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )  # fmt: skip

    def close(self) -> None:
        """Remove it; who runs there has ended already."""
        self._guard.kill()
        self._guard.communicate()
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def working_in(path: Path) -> Iterator[None]:
    """Go there for a while, or to the root if it is gone, and back even if where one comes from has been removed."""
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.chdir(path if path.is_dir() else path.root)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def end(held: list[Any], folder: Folder | None, process: int) -> None:
    """Drop the last reference to a pool, which is what ends its simulators, and then what they wrote.

    In a forked child nothing is ended: simulators and folder are the parent's, in ``process``, and the pool would wait
    for threads that are not there. There it is kept for ever.
    """
    if os.getpid() != process:
        for pool in held:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(pool))
        return
    held.clear()
    if folder is not None:
        folder.close()
