"""JSON from an untrusted source: of a known shape, or refused with a one-sentence error.

A shape is plain data, as JSON is: ``int``, ``float`` (an int counts), ``str``, ``bool``, ``None`` and ``Any``;
``[shape]`` is a list of these; ``{"key": shape}`` an object with at least these keys, where a "?" at the end marks an
optional one; ``{str: shape}`` an object with any keys; a tuple is one of several shapes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...envs.errors import UserError
from .files import read_regular

DEEPEST = 100
"""Maximum nesting depth of brackets; files written by morello need a quarter of it."""
LARGEST = 64 * 2**20
"""Maximum size of a file in bytes."""
NUMBER = 1e100
"""Maximum magnitude of a number, beyond any measurement; sums and axes of larger numbers overflow."""


def read_json(path: Path, shape: Any, way_out: str, limit: int = LARGEST) -> Any:
    """Return the contents of the JSON file ``path``. UserError, which ends with ``way_out``, unless they have the given
    shape; FileNotFoundError or NotADirectoryError if there is no file.
    """
    try:
        return parse(read_regular(path, limit), shape)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): {way_out}") from error


def parse(data: bytes, shape: Any = Any, *, text: bool = True, deepest: int = DEEPEST) -> Any:
    """Parse ``data``. ValueError, naming the place, unless it has the given shape and is nested at most ``deepest``
    deep; with ``text``, its strings must also be printable and valid in file names.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError(f"it is nested more than {deepest} deep") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    _refuse_odd(value, text, deepest)
    if (where := _fault(value, shape)) is not None:
        raise ValueError(f"{where or 'it'} is not what it should be")
    return value


def _refuse_odd(value: Any, text: bool, deepest: int) -> None:
    """Raise ValueError for too deep nesting and, with ``text``, for strings that are not valid text."""
    level = [value]
    for _ in range(deepest):
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                inner += node.keys()
                inner += node.values()
            elif isinstance(node, list):
                inner += node
            elif text and isinstance(node, str) and ("\0" in node or not _encodes(node)):
                raise ValueError(f"the string {node[:40]!r} is no text")
        if not inner:
            return
        level = inner
    raise ValueError(f"it is nested more than {deepest} deep")


def _encodes(string: str) -> bool:
    try:
        string.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(value: Any, shape: Any, where: str = "") -> str | None:
    """Return the place, such as "seeds/0/curve", where ``value`` does not match ``shape``; None if it matches."""
    if isinstance(shape, tuple):
        faults = [_fault(value, s, where) for s in shape]
        return None if None in faults else max((f for f in faults if f is not None), key=len)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return where
        parts = [(f"{i}", v, shape[0]) for i, v in enumerate(value)]
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            return where
        if str in shape:
            parts = [(k, v, shape[str]) for k, v in value.items()]
        else:
            wanted = [(k.rstrip("?"), s) for k, s in shape.items() if k[-1] != "?" or k[:-1] in value]
            parts = [(k, value.get(k, KeyError), s) for k, s in wanted]
    else:
        return None if _is(value, shape) else where
    inside = (_fault(v, s, f"{where}/{k}".lstrip("/")) for k, v, s in parts)
    return next((f for f in inside if f is not None), None)


def _is(value: Any, kind: Any) -> bool:
    if value is KeyError:  # it is missing
        return False
    if kind is Any or kind is None:
        return kind is Any or value is None
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < NUMBER
    return isinstance(value, kind)
