"""The folder of one checkpoint: whether it is whole, and what it holds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ... import __version__
from ...envs.errors import UserError
from .codec import DEEPEST, decode
from .files import read_regular, reading
from .read_json import LARGEST, parse

FORMAT = 1
TENSORS, TREE, MANIFEST = "tensors.safetensors", "tree.json", "manifest.json"
MANIFEST_BYTES = 2**16


class Broken(Exception):  # noqa: N818
    """This checkpoint cannot be used, and why."""


class Pruned(Exception):  # noqa: N818
    """This checkpoint went, or was replaced, while it was read."""


def _manifest(path: Path, step: int) -> bytes:
    """The manifest's bytes. Raises Broken (or OSError) unless they are one of this step."""
    data = read_regular(path / MANIFEST, MANIFEST_BYTES)
    try:
        manifest = parse(data, {"step": int, "sha256": {TENSORS: str, TREE: str}})
    except ValueError as error:
        raise Broken(f"{MANIFEST} is not a manifest: {error}") from error
    if manifest["step"] != step:
        raise Broken(f"{MANIFEST} is of step {manifest['step']}")
    return data


def verify(path: Path, step: int) -> bytes:
    """The manifest. Raises Broken (or OSError) unless every file is what it says."""
    try:
        data = _manifest(path, step)
        digests = json.loads(data)["sha256"]
        if hashlib.sha256(read_regular(path / TREE, LARGEST)).hexdigest() != digests[TREE]:
            raise Broken(f"{TREE} does not match its SHA-256")
        _tensors(path)  # which has the size that its header says: nobody waits for the hash of an endless file
        with reading(path / TENSORS) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digests[TENSORS]:
                raise Broken(f"{TENSORS} does not match its SHA-256")
    except FileNotFoundError as error:
        raise Broken(f"{Path(error.filename or TENSORS).name} is missing") from error
    except SafetensorError as error:
        raise Broken(f"{TENSORS} is not whole: {error}") from error
    return data


def intact(path: Path, step: int) -> bool:
    """Whether every file is what the manifest says."""
    try:
        verify(path, step)
    except (Broken, OSError):
        return False
    return True


def read(path: Path, step: int, part: tuple[str | int, ...]) -> Any:
    """The branch of its tree at ``part``, verified. Raises Broken, Pruned, OSError, or UserError for another format."""
    manifest = verify(path, step)
    try:
        tree = _tree(path, part)
    except (Broken, OSError) as error:
        if small(path / MANIFEST) != manifest:
            raise Pruned from error
        raise
    if small(path / MANIFEST) != manifest:
        raise Pruned
    return tree


def _structure(path: Path) -> dict[str, Any]:
    try:
        data = read_regular(path / TREE, LARGEST)
        found: dict[str, Any] = parse(
            data, {"format": Any, "morello": str, "tree": Any}, text=False, deepest=3 * DEEPEST + 10
        )
    except ValueError as error:
        raise Broken(f"{TREE} is not a checkpoint's: {error}") from error
    return found


def _branch(node: Any, part: tuple[str | int, ...]) -> Any:
    for key in part:
        node = dict(node["dict"])[key]
    return node


def _tree(path: Path, part: tuple[str | int, ...]) -> Any:
    structure = _structure(path)
    version, writer = structure["format"], structure["morello"]
    if version != FORMAT:
        raise UserError(
            f"{path} was written by morello {writer} in checkpoint format {version}, and this is morello "
            f"{__version__}, which reads format {FORMAT}: install morello {writer} to use it"
        )
    taken: set[str] = set()
    try:
        with _tensors(path) as file:

            def tensor(name: str) -> Tensor:
                if name in taken:  # else a small file could fill the memory
                    raise ValueError(f"the tensor {name!r} is there twice")
                taken.add(name)
                found: Tensor = file.get_tensor(name)
                return found.clone()  # what safetensors gives is mapped from a file that will be pruned

            return decode(_branch(structure["tree"], part), tensor)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise Broken(f"{TREE} and {TENSORS} do not fit together: {error}") from error


def _tensors(path: Path) -> Any:
    """The tensors' file, opened; OSError if it is none: the library would wait for a pipe."""
    with reading(path / TENSORS):
        return safe_open(path / TENSORS, "pt")


def shapes(path: Path, part: tuple[str | int, ...]) -> dict[str, tuple[int, ...]] | None:
    """The shapes of the tensors right below ``part``, by their keys, not verified; None if it does not say."""
    try:
        node = _branch(_structure(path)["tree"], part)
        with _tensors(path) as file:
            return {
                str(key): tuple(file.get_slice(value["tensor"]).get_shape())
                for key, value in node["dict"]
                if isinstance(value, dict) and "tensor" in value
            }
    except (Broken, OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def small(path: Path) -> bytes | None:
    """What a small file holds; None where it cannot be read."""
    try:
        return read_regular(path, MANIFEST_BYTES)
    except OSError:
        return None
