"""Checkpoints that survive a kill, a power cut and a full disk: file mechanics, no reinforcement learning.

A folder of checkpoints holds::

    step_000000001000/     tensors.safetensors; tree.json: structure and plain values; manifest.json: SHA-256
    latest.json            a copy of the newest manifest, replaced last
    step_000000001000.old  only while the checkpoint of the same step is being replaced
    .tmp-...-<pid>         only while something is being written or deleted

Every file is on the disk before its folder gets its name by one rename, so a checkpoint that can be found is
whole; the hashes say whether it still is. Nothing is ever pickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import __version__
from ..envs.errors import UserError

FORMAT = 1
TENSORS, TREE, MANIFEST, LATEST = "tensors.safetensors", "tree.json", "manifest.json", "latest.json"
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.bool: "BOOL",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
}  # fmt: skip
"""What a checkpoint's tensors may be, in the words of safetensors."""


class CheckpointNotWritten(OSError):  # noqa: N818 - it is a condition to go on from
    """The disk refused (full, over quota, read-only, ...). The checkpoints that were there are untouched."""


class _Broken(Exception):  # noqa: N818
    """This checkpoint cannot be used, and why."""


def to_stderr(message: str) -> None:
    """Where warnings go unless the caller says otherwise."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def save(folder: Path, step: int, tree: Any, keep: int, warn: Callable[[str], None] = to_stderr) -> Path:
    """Write ``tree`` as the checkpoint of ``step``, then delete older ones beyond the newest ``keep``.

    ``tree`` nests dicts (str or int keys), tuples and lists around tensors of any device and int, float, str,
    bool, None. A NamedTuple comes back as a tuple; tensors that share memory come back apart. TypeError for
    anything else, before the disk is touched. CheckpointNotWritten, and no trace, where the disk refuses.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}")
    folder, tensors = Path(folder), dict[str, Tensor]()
    structure = {"format": FORMAT, "morello": __version__, "step": step, "tree": _encode(tree, (), tensors)}
    target = folder / f"step_{step:012d}"
    temporary = _temporary(target)
    pointer = temporary.with_name(temporary.name + ".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        temporary.mkdir()
        digests = {
            TENSORS: write_file(temporary / TENSORS, _safetensors(tensors)),
            TREE: write_file(temporary / TREE, [json.dumps(structure, allow_nan=False).encode()]),
        }
        manifest = json.dumps({"step": step, "sha256": digests}, separators=(",", ":")).encode()
        write_file(temporary / MANIFEST, [manifest])
        write_file(pointer, [manifest])
        sync_folder(temporary)
        _publish(temporary, pointer, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        pointer.unlink(missing_ok=True)
        if isinstance(error, OSError):
            what = f"checkpoint of step {step:,} not written to {folder}: {error.strerror or error}"
            raise CheckpointNotWritten(what) from error
        raise
    _prune(folder, step, keep, warn)
    return target


def load(
    folder: Path, part: tuple[str | int, ...] = (), warn: Callable[[str], None] = to_stderr
) -> tuple[int, Any] | None:
    """(step, tree) of the newest checkpoint whose hashes are right, on the CPU; None if there never was one.

    ``part`` names the keys that lead to a branch, to read that alone. A broken checkpoint is warned of and the
    one before it taken. Raises UserError if all are broken, or for a checkpoint of another format.
    """
    folder, problems = Path(folder), list[str]()
    for step, path in _candidates(folder):
        try:
            tree = _read(path, step, part)
        except (_Broken, OSError) as error:
            if not path.exists():  # a run that is still training has pruned it while we were reading
                return load(folder, part, warn)
            problems.append(f"{path.name}: {error}")
            warn(f"checkpoint {path} is broken ({error}); falling back to the one before")
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


def exists(folder: Path) -> bool:
    """Whether a checkpoint was ever finished here, good or broken."""
    return bool(_candidates(Path(folder))) or (Path(folder) / LATEST).exists()


# Files


def write_file(path: Path, chunks: Iterable[bytes | memoryview]) -> str:
    """A new file, on the disk when this returns; its SHA-256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
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


def replace_file(path: Path, data: bytes) -> None:
    """``path`` holds ``data``, or what it held before, whatever happens."""
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    try:
        write_file(temporary, [data])
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Renames in ``folder`` are on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems have no such thing
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f".tmp-{path.name}-{os.getpid()}")


def _candidates(folder: Path) -> list[tuple[int, Path]]:
    """(step, path), newest first; of one step the finished one before the one it replaced."""
    if not folder.is_dir():
        return []
    found = [(re.fullmatch(r"step_(\d{12,})(\.old)?", p.name), p) for p in folder.iterdir()]
    return [(s, p) for s, _, p in sorted(((int(m[1]), not m[2], p) for m, p in found if m), reverse=True)]


def _publish(temporary: Path, pointer: Path, target: Path) -> None:
    """Give the finished checkpoint its name, then say that it is the latest; all of it or nothing.

    Replacing a folder takes two renames. In between the old one goes by a name that ``load`` knows too.
    """
    old = target.with_name(target.name + ".old")
    if target.exists():
        if old.exists():
            shutil.rmtree(old)
        os.rename(target, old)
    try:
        os.rename(temporary, target)
        sync_folder(target.parent)
        os.replace(pointer, target.parent / LATEST)
    except BaseException:
        if target.exists():
            os.rename(target, temporary)
        if old.exists():
            os.rename(old, target)
        raise


def _prune(folder: Path, step: int, keep: int, warn: Callable[[str], None]) -> None:
    """Delete what ``save`` of ``step`` made superfluous, each by one rename to a temporary name first.

    Later checkpoints are there only after a fallback: broken ones go, good ones are not ours to delete.
    """
    kept: set[int] = set()
    try:
        sync_folder(folder)  # nothing goes before all that replaces it, pointer too, is on the disk
        for found, path in _candidates(folder):
            if found > step:
                surplus = not _intact(path, found)
            else:
                surplus = found in kept or len(kept) >= keep
                kept.add(found)
            if surplus:
                os.rename(path, _temporary(path))
                shutil.rmtree(_temporary(path))
    except OSError as error:
        warn(f"old checkpoints in {folder} could not be deleted: {error.strerror}")


def remove_leftovers(folder: Path) -> None:
    """Temporary files and folders of processes that are no more, and of this one."""
    for path in folder.glob(".tmp-*"):
        match = re.fullmatch(r"\.tmp-.+-(\d{1,9})(\.json)?", path.name)
        if match and not _alive(int(match[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


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


# Reading back


def _verify(path: Path, step: int) -> None:
    """Raise _Broken (or OSError) unless every file is what the manifest says."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest["step"] != step:
            raise _Broken(f"{MANIFEST} is of step {manifest['step']}")
        for name in (TENSORS, TREE):
            with open(path / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != manifest["sha256"][name]:
                    raise _Broken(f"{name} does not match its SHA-256")
    except FileNotFoundError as error:
        raise _Broken(f"{Path(error.filename).name} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _Broken(f"{MANIFEST} is not a manifest") from error


def _intact(path: Path, step: int) -> bool:
    try:
        _verify(path, step)
    except (_Broken, OSError):
        return False
    return True


def _read(path: Path, step: int, part: tuple[str | int, ...]) -> Any:
    _verify(path, step)
    try:
        structure = json.loads((path / TREE).read_bytes())
        version, writer, node = structure["format"], structure["morello"], structure["tree"]
    except (ValueError, KeyError, TypeError) as error:
        raise _Broken(f"{TREE} is not a checkpoint's") from error
    if version != FORMAT:
        raise UserError(
            f"{path} was written by morello {writer} in checkpoint format {version}, and this is morello "
            f"{__version__}, which reads format {FORMAT}: install morello {writer} to use it"
        )
    try:
        for key in part:
            node = dict(node["dict"])[key]
        with safe_open(path / TENSORS, "pt") as file:
            # A copy: what safetensors gives is mapped from a file that will be pruned.
            return _decode(node, lambda name: file.get_tensor(name).clone())
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _Broken(f"{TREE} and {TENSORS} do not fit together: {error}") from error


def _pointer_is_sound(folder: Path) -> bool:
    """It is some manifest's copy; perhaps not the newest's, for a kill may come between the two renames."""
    pointer = _bytes(folder / LATEST)
    return pointer is not None and any(_bytes(path / MANIFEST) == pointer for _, path in _candidates(folder))


def _bytes(path: Path) -> bytes | None:
    """What a file holds; None where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


# Trees


def _encode(tree: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """``tree`` as JSON: plain values and lists as they are, the rest as an object with one key, its kind."""
    where = "/".join(path)
    if isinstance(tree, Tensor):
        if tree.dtype not in DTYPES or tree.layout != torch.strided or tree.is_meta:
            raise TypeError(f"a checkpoint cannot hold the tensor at {where!r}: {tree.dtype}, {tree.layout}")
        name = where or "tensor"
        while name in tensors or name == "__metadata__":  # {"a": {"b": x}, "a/b": y}
            name += "'"
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, dict):
        for key in tree:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise TypeError(f"a checkpoint's keys are str or int, not {key!r} at {where!r}")
        return {"dict": [[k, _encode(v, (*path, str(k)), tensors)] for k, v in tree.items()]}
    if isinstance(tree, tuple | list):
        nodes = [_encode(v, (*path, str(i)), tensors) for i, v in enumerate(tree)]
        return {"tuple": nodes} if isinstance(tree, tuple) else nodes
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"float": str(float(tree))}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a checkpoint holds tensors and plain values, no {type(tree).__name__} as at {where!r}")


def _decode(node: Any, tensor: Callable[[str], Tensor]) -> Any:
    """The inverse of ``_encode``."""
    if isinstance(node, list):
        return [_decode(v, tensor) for v in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensor(content)
    if kind == "dict":
        return {k: _decode(v, tensor) for k, v in content}
    if kind == "tuple":
        return tuple(_decode(v, tensor) for v in content)
    if kind == "float":
        return float(content)
    raise ValueError(f"unknown kind {kind!r}")


def _safetensors(tensors: dict[str, Tensor]) -> Iterable[bytes | memoryview]:
    """A safetensors file, tensor by tensor; the library's writer would hold all of it in memory once more."""
    # Widest first keeps every tensor aligned, as readers expect.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
