"""A disk that forgets at a power cut whatever was not synced, as the laws of POSIX allow.

`record` notes what a block does to the files below a folder; `Disk.after` plays that again up to some moment and says
what may be found there when the power comes back.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = tuple[Any, ...]


@contextlib.contextmanager
def record(root: Path) -> Iterator[list[Event]]:
    """What is done to files below ``root``, by calls of ``os``, in order; callers may add marks of their own."""
    events: list[Event] = []
    real = {
        name: getattr(os, name)
        for name in (
            "open",
            "write",
            "fsync",
            "ftruncate",
            "truncate",
            "rename",
            "replace",
            "mkdir",
            "unlink",
            "remove",
            "rmdir",
        )
    }

    def inside(path: Any, dir_fd: int | None = None) -> Path | None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        elif dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), os.fspath(path))
        path = Path(os.path.abspath(os.fspath(path)))
        return path.relative_to(root) if path.is_relative_to(root) else None

    def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = inside(path, dir_fd)
        new = where is not None and flags & os.O_CREAT and not os.path.lexists(root / where)
        descriptor: int = real["open"](path, flags, mode, dir_fd=dir_fd)
        if new:
            events.append(("create", where))
        return descriptor

    def write(descriptor: int, data: Any) -> int:
        where, size = inside(descriptor), os.fstat(descriptor).st_size
        count: int = real["write"](descriptor, data)
        if where is not None:
            events.append(("write", where, size, bytes(data[:count])))  # everything of ours is appended
        return count

    def simple(name: str) -> Any:
        def call(path: Any, *more: Any, **names: Any) -> Any:
            where = inside(path, names.get("dir_fd"))
            other = inside(more[0]) if name in ("rename", "replace") else None
            result = real[name](path, *more, **names)
            if where is not None:
                what = {"replace": "rename", "remove": "unlink", "ftruncate": "truncate"}.get(name, name)
                events.append((what, where, other if other is not None else more[0] if what == "truncate" else None))
            return result

        return call

    try:
        os.open, os.write = opened, write
        for name in real.keys() - {"open", "write"}:
            setattr(os, name, simple(name))
        yield events
    finally:
        for name, function in real.items():
            setattr(os, name, function)


Change = tuple[str | None, str | None, Any]
"""Old name, new name, of which file or folder."""


class File:
    """What a file holds, and what of it is on the disk."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = self.durable = data


class Folder:
    """What a folder holds, what of it is on the disk, and what was done to it since."""

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.durable: dict[str, File | Folder] = {}
        self.since: list[Change] = []

    def change(self, old: str | None, new: str | None, node: File | Folder) -> None:
        """Give ``node`` a name, another one, or none."""
        if old is not None:
            del self.names[old]
        if new is not None:
            self.names[new] = node
        self.since.append((old, new, node))

    def sync(self) -> None:
        """All of it is on the disk."""
        self.durable, self.since = dict(self.names), []


class Disk:
    """Files and folders below a root, of which everything there at first is on the disk."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = _read(root) if root is not None else Folder()

    def _folder(self, path: Path) -> Folder:
        node: File | Folder = self.root
        for name in path.parts:
            assert isinstance(node, Folder)
            node = node.names[name]
        assert isinstance(node, Folder)
        return node

    def play(self, event: Event) -> None:
        """One change."""
        what, path, *more = event
        if what == "mark":
            return
        parent = self._folder(path.parent) if path.parts else self.root
        node = parent.names.get(path.name)
        if what in ("create", "mkdir"):
            parent.change(None, path.name, File() if what == "create" else Folder())
        elif what == "rename":
            assert node is not None
            assert more[0].parent == path.parent
            parent.change(path.name, more[0].name, node)
        elif what in ("unlink", "rmdir"):
            assert node is not None
            parent.change(path.name, None, node)
        elif what == "fsync" and (node is None or isinstance(node, Folder)):
            (node if isinstance(node, Folder) else self.root).sync()
        else:
            assert isinstance(node, File)
            if what == "write":
                node.data = node.data[: more[0]] + more[1]
            elif what == "truncate":
                node.data = node.data[: more[0]]
            else:
                assert what == "fsync"
                node.durable = node.data

    def write(self, target: Path) -> None:
        """Put all of it into ``target``, as if the power had stayed."""
        _leave(self.root, target, None, "all")

    def lose_power(self, target: Path, chance: random.Random) -> None:
        """Put into ``target`` what may be left: of names not synced none, the first ones, some or all; of bytes not
        synced none, zeros in their place, the first ones or all.
        """
        _leave(self.root, target, chance, chance.choice(("none", "first", "some", "all")))


def _leave(folder: Folder, target: Path, chance: random.Random | None, kept: str) -> None:
    target.mkdir()
    names = dict(folder.durable)
    for old, new, node in _kept(folder.since, chance, kept):
        if old is not None and names.get(old) is node:
            del names[old]
        if new is not None:
            names[new] = node
    for name, node in names.items():
        if isinstance(node, Folder):
            _leave(node, target / name, chance, kept)
        else:
            (target / name).write_bytes(node.data if chance is None else _left(node, chance))


def _kept(changes: list[Change], chance: random.Random | None, kept: str) -> list[Change]:
    if chance is None or kept == "all":
        return changes
    if kept == "some":
        return [change for change in changes if chance.random() < 0.5]
    return changes[: chance.randrange(len(changes) + 1) if kept == "first" else 0]


def _left(file: File, chance: random.Random) -> bytes:
    lost = len(file.data) - len(file.durable)
    if lost <= 0 or not file.data.startswith(file.durable):
        return chance.choice((file.durable, file.data))
    return chance.choice(
        (file.durable, file.data, file.durable + bytes(lost), file.data[: len(file.durable) + chance.randrange(lost)])
    )


def _read(path: Path) -> Folder:
    folder = Folder()
    for inner in path.iterdir():
        folder.names[inner.name] = _read(inner) if inner.is_dir() else File(inner.read_bytes())
    folder.sync()
    return folder
