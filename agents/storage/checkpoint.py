"""Checkpoints that survive a kill, a power cut and a full disk: file mechanics, no reinforcement learning.

A folder of checkpoints holds::

    step_000000001000/     tensors.safetensors; tree.json: structure and plain values; manifest.json: SHA-256
    latest.json            a copy of the newest manifest, replaced last
    step_000000001000.old  only while the checkpoint of the same step is being replaced
    .tmp-...-<pid>         only while something is being written or deleted

Every file is on the disk before a single rename gives the folder its name, so a checkpoint that can be found is
complete; the hashes detect later damage. Nothing is ever pickled.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from ... import __version__
from ...envs.errors import UserError
from . import checkpoint_folder
from .checkpoint_folder import FORMAT, MANIFEST, TENSORS, TREE, Broken, Pruned, intact, read, small
from .codec import encode, safetensors
from .files import is_there, make_folders, remove, remove_leftovers, replace_file, sync_folder, temporary, write_file

LATEST = "latest.json"
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error codes of a disk without free space."""


class CheckpointNotWritten(OSError):  # noqa: N818 - a condition from which training continues
    """The disk refused a checkpoint (full, over quota, read-only, ...). Existing checkpoints are unchanged."""


def to_stderr(message: str) -> None:
    """Print a warning to standard error; the default destination of warnings."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def save(
    folder: Path, step: int, tree: Any, keep: int, warn: Callable[[str], None] = to_stderr, *, last: bool = False
) -> Path:
    """Write ``tree`` as the checkpoint of ``step``, then delete older ones beyond the newest ``keep``.

    ``tree`` nests dicts (str or int keys), tuples and lists around tensors of any device and int, float, str, bool,
    None. A NamedTuple comes back as a tuple; tensors that share memory come back separate. TypeError for anything else,
    before anything is written. CheckpointNotWritten, leaving no trace, if the disk refuses. If the disk is full, the
    ``last`` checkpoint of a run replaces all earlier ones except the newest intact one.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}")
    folder, tensors = Path(folder), dict[str, Tensor]()
    structure = {"format": FORMAT, "morello": __version__, "step": step, "tree": encode(tree, (), tensors)}
    text = json.dumps(structure, allow_nan=False).encode()
    try:
        target = _write(folder, step, text, tensors)
    except CheckpointNotWritten as error:
        full = isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL
        if not (last and full and _make_room(folder, step, warn)):
            raise
        target = _write(folder, step, text, tensors)
    _prune(folder, step, keep, warn)
    return target


def load(
    folder: Path, part: tuple[str | int, ...] = (), warn: Callable[[str], None] = to_stderr
) -> tuple[int, Any] | None:
    """Return (step, tree) of the newest checkpoint whose hashes are right, on the CPU; None if there never was one.

    ``part`` is the path of keys to a branch, if only that is to be read. A broken checkpoint causes a warning, and the
    one before it is used. Raises UserError if all are broken, or for a checkpoint of another format.
    """
    folder, problems = Path(folder), list[str]()
    for step, path in _candidates(folder):
        try:
            tree = read(path, step, part)
        except Pruned:  # deleted by a run that is still training
            return load(folder, part, warn)
        except (Broken, OSError) as error:
            if not is_there(path):
                return load(folder, part, warn)
            problems.append(f"{path.name}: {_reason(error)}")
            warn(f"checkpoint {path} is broken ({_reason(error)}); falling back to the one before")
            continue
        if not problems and not _pointer_is_sound(folder):
            warn(f"{folder / LATEST} is missing or damaged; taking the newest good checkpoint, step {step:,}")
        return step, tree
    if not exists(folder):
        return None
    reason = "; ".join(problems) or f"only {LATEST} is left"
    raise UserError(
        f"{folder} holds no checkpoint that can be read ({reason}): restore one, or begin a run in another folder"
    )


def shapes(folder: Path, part: tuple[str | int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes by key of the tensors directly below ``part``, from the newest checkpoint that contains some.
    This is cheap: neither hashes nor tensors are read. Empty if no checkpoint contains any.
    """
    found = (checkpoint_folder.shapes(path, part) for _, path in _candidates(Path(folder)))
    return next((f for f in found if f is not None), {})  # `load` reports what is wrong with the others


def exists(folder: Path) -> bool:
    """Return whether a checkpoint was ever completed here, intact or broken. UserError if that cannot be determined."""
    candidates = _candidates(Path(folder))
    try:
        return bool(candidates) or is_there(Path(folder) / LATEST)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


# Files


def _candidates(folder: Path) -> list[tuple[int, Path]]:
    """Return (step, path), newest first; of the same step, the completed checkpoint precedes the one it replaced."""
    try:
        names = [p.name for p in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        if is_there(folder) and not folder.is_dir():  # such as a link to a disk that is not mounted
            raise UserError(f"{folder} is neither a folder nor a link to one: restore it") from None
        return []
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error
    found = [(re.fullmatch(r"step_(\d{12,18})(\.old)?", name), folder / name) for name in names]
    return [(s, p) for s, _, p in sorted(((int(m[1]), not m[2], p) for m, p in found if m), reverse=True)]


def _write(folder: Path, step: int, text: bytes, tensors: dict[str, Tensor]) -> Path:
    """Write a complete checkpoint under a temporary name, then rename it. CheckpointNotWritten, leaving no trace, on
    failure.
    """
    target = folder / f"step_{step:012d}"
    scratch = temporary(target)
    pointer = scratch.with_name(scratch.name + ".json")
    try:
        make_folders(folder)
        remove_leftovers(folder)
        scratch.mkdir()
        digests = {
            TENSORS: write_file(scratch / TENSORS, safetensors(tensors)),
            TREE: write_file(scratch / TREE, [text]),
        }
        manifest = json.dumps({"step": step, "sha256": digests}, separators=(",", ":")).encode()
        write_file(scratch / MANIFEST, [manifest])
        write_file(pointer, [manifest])
        sync_folder(scratch)
        _publish(scratch, pointer, target)
    except BaseException as error:
        for path in (scratch, pointer):
            _remove_if_there(path)
        if isinstance(error, OSError):
            what = f"checkpoint of step {step:,} not written to {folder}: {error.strerror or error}"
            raise CheckpointNotWritten(what) from error
        raise
    return target


def _remove_if_there(path: Path) -> None:
    with contextlib.suppress(OSError):  # not created, or a disk error: the next `save` cleans up
        remove(path)


def _publish(scratch: Path, pointer: Path, target: Path) -> None:
    """Give the completed checkpoint its name, then record it as the latest; all of it or nothing.

    Replacing a folder takes two renames. In between, the old one has a name that ``load`` also recognises.
    """
    old = target.with_name(target.name + ".old")
    if is_there(target):
        if is_there(old):  # a kill came in between: the pointer may still be that of the old one
            if (newer := small(target / MANIFEST)) is not None:
                replace_file(target.parent / LATEST, newer)
            remove(old)
        os.rename(target, old)
    try:
        os.rename(scratch, target)
        sync_folder(target.parent)
        os.replace(pointer, target.parent / LATEST)
    except BaseException:
        if is_there(target):
            os.rename(target, scratch)
        if is_there(old):
            os.rename(old, target)
        raise


def _prune(folder: Path, step: int, keep: int, warn: Callable[[str], None]) -> None:
    """Delete the checkpoints that ``save`` of ``step`` made superfluous.

    Later checkpoints exist only after a fallback: broken ones are deleted, intact ones are kept.
    """
    kept: set[int] = set()
    surplus: list[Path] = []
    try:
        sync_folder(folder)  # delete only when all replacements, pointer included, are on the disk
        for found, path in _candidates(folder):
            if found > step:
                surplus += [] if intact(path, found) else [path]
            else:
                surplus += [path] if found in kept or len(kept) >= keep else []
                kept.add(found)
        for path in surplus:
            _discard(path)
    except OSError as error:
        warn(f"old checkpoints in {folder} could not be deleted: {error.strerror or error}")


def _make_room(folder: Path, step: int, warn: Callable[[str], None]) -> bool:
    """Delete all checkpoints before ``step`` except the newest intact one. Return whether any were deleted."""
    older = [(found, path) for found, path in _candidates(folder) if found <= step]
    good = next((path for found, path in older if intact(path, found)), None)
    surplus = [path for _, path in older if path != good]
    if good is None or not surplus:
        return False
    warn(f"the disk is full: deleting {len(surplus)} older checkpoints in {folder} to make room for step {step:,}")
    try:
        for path in surplus:
            _discard(path)
    except OSError as error:
        warn(f"old checkpoints in {folder} could not be deleted: {error.strerror or error}")
    return True


def _discard(path: Path) -> None:
    """Delete a checkpoint, after renaming it so that a partly deleted one never has its name."""
    os.rename(path, temporary(path))
    remove(temporary(path))


# Reading back


def _pointer_is_sound(folder: Path) -> bool:
    """Return whether the pointer is a copy of some checkpoint's manifest; not necessarily the newest one's, because a
    kill may come between the two renames.
    """
    pointer = small(folder / LATEST)
    return pointer is not None and any(small(path / MANIFEST) == pointer for _, path in _candidates(folder))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{Path(error.filename).name}: {error.strerror}"
    return str(error)
