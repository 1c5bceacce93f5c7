"""Files that survive a kill, a power cut and a full disk; only regular files are opened.

The contents of a folder may come from another person: nothing here blocks on a pipe, reads from a device or reads more
than its limit.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path

from ...envs.errors import UserError

PLAIN = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags with which opening a pipe or a device neither blocks nor changes this process."""


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open a regular file and return its descriptor. OSError for a pipe, a device, a socket or a folder. Links are
    followed only for reading, because writing through a link would change another file.
    """
    if flags & (os.O_WRONLY | os.O_RDWR):
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | PLAIN, mode)
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):
            raise OSError(error.errno, "it is a link: put the file itself in its place", str(path)) from error
        if error.errno == errno.ENXIO:  # a socket, or a pipe without a reader
            raise OSError(error.errno, "it is no regular file", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


@contextlib.contextmanager
def reading(path: Path) -> Iterator[BufferedReader]:
    """Open the regular file ``path`` for reading."""
    with open(open_regular(path), "rb") as file:
        yield file


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """Return the contents of a regular file at the time of opening. OSError if they are more than ``limit`` bytes."""
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        if limit is not None and size > limit:
            raise OSError(errno.EFBIG, f"it is larger than the {limit:,} bytes that such a file may have", str(path))
        try:
            return file.read(size)
        except MemoryError:
            raise OSError(errno.ENOMEM, f"its {size:,} bytes do not fit into memory", str(path)) from None


def named(path: str | Path) -> Path:
    """Return a user's path as a Path. UserError if it cannot be stored as text."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"the path {str(path)!r} is not valid UTF-8: give it another name") from error
    if "\0" in str(path):
        raise UserError(f"the path {str(path)!r} holds a zero byte: give it another name")
    return Path(path)


def is_there(path: Path) -> bool:
    """Return whether something has this name, including a broken link. OSError if that cannot be determined."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_file(path: Path, chunks: Iterable[bytes | memoryview], mode: int = 0o666) -> str:
    """Write a new file to the disk and return its SHA-256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        for chunk in chunks:
            digest.update(chunk)
            view = memoryview(chunk)
            while len(view):
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def replace_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace the contents of ``path`` by ``data`` atomically: on any failure the old contents remain."""
    scratch = temporary(path)
    scratch.unlink(missing_ok=True)
    try:
        write_file(scratch, [data], mode)
        os.replace(scratch, path)
        sync_folder(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Write the names in ``folder`` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems do not support this
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Create ``folder`` and its parents, and write each one's name to the disk."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def temporary(path: Path) -> Path:
    """Return a temporary name next to ``path``, specific to this process, for unfinished files."""
    return path.with_name(f".tmp-{path.name}-{os.getpid()}")


def remove(path: Path) -> None:
    """Delete a file, a folder with its contents, or a link but not its target."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files and folders of processes that no longer exist, and of this one."""
    for path in folder.glob(".tmp-*"):
        match = re.fullmatch(r"\.tmp-.+-(\d{1,9})(\.json)?", path.name)
        if match and not _alive(int(match[1])):
            with contextlib.suppress(OSError):  # a leftover does no harm
                remove(path)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
