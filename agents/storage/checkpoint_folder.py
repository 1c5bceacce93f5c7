"""The folder of one checkpoint: verification and reading."""

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
    """This checkpoint cannot be used; the message says why."""


class Pruned(Exception):  # noqa: N818
    """This checkpoint was deleted or replaced while it was being read."""


def _manifest(path: Path, step: int) -> bytes:
    """Return the manifest's bytes. Raises Broken (or OSError) unless they are a manifest of this step."""
    data = read_regular(path / MANIFEST, MANIFEST_BYTES)
    try:
        manifest = parse(data, {"step": int, "sha256": {TENSORS: str, TREE: str}})
    except ValueError as error:
        raise Broken(f"{MANIFEST} is not a manifest: {error}") from error
    if manifest["step"] != step:
        raise Broken(f"{MANIFEST} is of step {manifest['step']}")
    return data


def verify(path: Path, step: int) -> bytes:
    """Return the verified manifest. Raises Broken (or OSError) unless every file matches it."""
    try:
        data = _manifest(path, step)
        digests = json.loads(data)["sha256"]
        if hashlib.sha256(read_regular(path / TREE, LARGEST)).hexdigest() != digests[TREE]:
            raise Broken(f"{TREE} does not match its SHA-256")
        _tensors(path)  # checks the size given in the header, so that no endless file is hashed
        with reading(path / TENSORS) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digests[TENSORS]:
                raise Broken(f"{TENSORS} does not match its SHA-256")
    except FileNotFoundError as error:
        raise Broken(f"{Path(error.filename or TENSORS).name} is missing") from error
    except SafetensorError as error:
        raise Broken(f"{TENSORS} is incomplete: {error}") from error
    return data


def intact(path: Path, step: int) -> bool:
    """Return whether every file matches the manifest."""
    try:
        verify(path, step)
    except (Broken, OSError):
        return False
    return True


def read(path: Path, step: int, part: tuple[str | int, ...]) -> Any:
    """Return the branch of its tree at ``part``, verified. Raises Broken, Pruned, OSError, or UserError for another
    format.
    """
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
                if name in taken:  # otherwise a small file could fill the memory
                    raise ValueError(f"the tensor {name!r} is there twice")
                taken.add(name)
                found: Tensor = file.get_tensor(name)
                return found.clone()  # safetensors maps memory from a file that will be pruned

            return decode(_branch(structure["tree"], part), tensor)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise Broken(f"{TREE} and {TENSORS} do not fit together: {error}") from error


def _tensors(path: Path) -> Any:
    """Open the tensors' file. OSError if it is not a regular file: the library would block on a pipe."""
    with reading(path / TENSORS):
        return safe_open(path / TENSORS, "pt")


def shapes(path: Path, part: tuple[str | int, ...]) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of the tensors directly below ``part`` by key, not verified; None if that is impossible."""
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
    """Return the contents of a small file; None if it cannot be read."""
    try:
        return read_regular(path, MANIFEST_BYTES)
    except OSError:
        return None
