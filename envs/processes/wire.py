"""Messages between parent and workers: JSON of a fixed form, validated before use.

A worker runs an environment that the parent does not trust. Its messages are data and cannot execute code in the
parent, as a pickle could. (In the other direction ``build`` is sent as a pickle when the worker is spawned: the parent
is trusted.)
"""

from __future__ import annotations

import builtins
import json
import math
import types
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import torch

from ..errors import BrokenEnvironmentError, UserError
from ..experience import Spec, Timestep

LARGEST = 2**24
"""Maximum size of a message in bytes."""
MOST, LONGEST = 100, 4000
"""Maximum number of warnings in a reply, and of characters in a text; anything beyond is cut off."""
NAMES: dict[type, dict[str, Any]] = {
    torch.dtype: {str(x): x for x in (torch.uint8, torch.int64, torch.float32, torch.bool)},
    Exception: {x.__name__: x for x in (UserError, BrokenEnvironmentError, ValueError)},
    Warning: {k: v for k, v in vars(builtins).items() if isinstance(v, type) and issubclass(v, Warning)},
}
"""Values that are sent by name: no other dtype, error or warning can arrive."""
UNIONS = (Union, types.UnionType)

M = TypeVar("M")


class GarbageError(Exception):
    """A message does not have the expected form; the text describes what was received."""


class Command(NamedTuple):
    """A command to a worker."""

    number: int  # number among the commands to this worker
    what: str  # "reset", "step" or "close"
    seed: int | None = None


class Reply(NamedTuple):
    """A worker's answer to one command; the data are in the shared memory."""

    number: int  # number of the command; 0: environments are made
    error: tuple[type[Exception], str] | None
    warnings: list[tuple[type[Warning], str]]
    spec: Spec | None = None  # in the first reply only
    adopts: bool = False  # in the first reply only: can another process recreate them?


def send(pipe: Connection, message: Command | Reply | Spec) -> None:
    """Write a message. OSError if there is no reader."""
    pipe.send_bytes(json.dumps(_plain(message)).encode())


def receive(pipe: Connection, kind: type[M]) -> M:
    """Return the next message, of type ``kind``. GarbageError if it is invalid, EOFError or OSError at the end."""
    try:
        data = pipe.recv_bytes(LARGEST)
    except BlockingIOError:
        raise GarbageError("an incomplete message") from None
    except OSError as error:
        if error.errno is None:  # how multiprocessing reports it
            raise GarbageError("a message of an invalid size") from None
        raise
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise GarbageError("something other than a message") from None
    message: M = believe(value, kind)
    return message


def believe(value: Any, kind: Any) -> Any:
    """Convert ``value``, as decoded from JSON, to ``kind``. GarbageError if that is not possible."""
    origin, kinds = get_origin(kind), get_args(kind)
    if origin in UNIONS:  # of one kind and None
        return None if value is None else believe(value, next(k for k in kinds if k is not types.NoneType))
    if kind in (int, bool) and type(value) is kind and abs(value) < 2**63:
        return value
    if kind is str and type(value) is str:  # it may be printed: no surrogates and no terminal control codes
        return "".join(c if c.isprintable() else " " for c in value[:LONGEST])
    if (known := NAMES.get(kinds[0] if origin is type else kind)) is not None and type(value) is str and value in known:
        return known[value]
    if origin is dict and type(value) is dict:
        return {believe(k, kinds[0]): believe(v, kinds[1]) for k, v in value.items()}
    if origin in (list, tuple) and type(value) is list:
        each = kinds if origin is tuple and kinds[-1] is not ... else kinds[:1] * len(value)
        if len(each) == len(value):
            return origin(map(believe, value, each))
    if hasattr(kind, "_fields") and type(value) is dict and value.keys() == {*kind._fields}:
        message = kind(**{name: believe(value[name], hint) for name, hint in _hints(kind).items()})
        if kind is Spec:
            _check(message)
        return message
    raise GarbageError("a message of an unexpected form")


def _check(spec: Spec) -> None:
    """Raise GarbageError for a spec that no environment can have: the memory layout depends on it."""
    for name, (shape, dtype) in spec.observation.items():
        taken = not name.isidentifier() or name in (*Timestep._fields, "action", "chosen")
        if taken or min(shape, default=1) < 1 or math.prod(shape) * dtype.itemsize > 2**40:
            raise GarbageError(f"an observation {name[:30]!r} that is invalid")
    counts = (spec.num_actions, spec.frames_per_step, spec.stacked, spec.max_steps or 1, len(spec.tasks))
    if min(counts) < 1 or len(spec.action_names) != spec.num_actions or len(spec.success) not in (0, len(spec.tasks)):
        raise GarbageError("invalid numbers of actions, tasks or steps")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _plain(value: Any) -> Any:
    """Convert ``value`` to types that JSON supports."""
    if isinstance(value, str):
        return value[:LONGEST]
    if hasattr(value, "_fields"):
        return {name: _plain(part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, torch.dtype):
        return str(value)
    return value.item() if hasattr(value, "item") else value  # NumPy's numbers
