"""Paths resolved in advance: some environments change the working directory, which would misdirect a run's files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...envs.errors import UserError


def refuse_no_directory() -> None:
    """Raise UserError if the working directory was deleted: no path can be resolved from there."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"there is no working directory ({error.strerror}): cd to one that exists") from error


@contextmanager
def same_directory() -> Iterator[Path]:
    """Yield the working directory, and restore it when the block ends."""
    refuse_no_directory()
    here = os.open(os.curdir, os.O_RDONLY)
    try:
        yield Path.cwd()
    finally:
        os.fchdir(here)
        os.close(here)


def typed(path: Path, directory: Path) -> str:
    """Return ``path`` as one would type it in a shell in ``directory``."""
    return shlex.quote(str(path.relative_to(directory) if path.is_relative_to(directory) else path))
