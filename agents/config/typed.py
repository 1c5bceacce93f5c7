"""What the annotations of a dataclass say about its values."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

UNIONS = (Union, types.UnionType)


def fields_of(kind: type[Any]) -> dict[str, Any]:
    """The types of what a dataclass is built with, by name."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def is_a(value: Any, kind: Any) -> bool:
    """isinstance for the types that settings have. An int is a float too, and a bool is no number. True for what cannot
    be told.
    """
    origin, kinds = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in kinds
    if origin is Final:
        return is_a(value, kinds[0])
    if origin in (tuple, list) and kinds:
        if not isinstance(value, origin):
            return False
        if origin is list or kinds[1:] == (...,):
            kinds = kinds[:1] * len(value)
        return len(value) == len(kinds) and all(map(is_a, value, kinds))
    if origin in UNIONS:
        return any(is_a(value, k) for k in kinds)
    kind = origin or kind  # of a dict each value is checked by its own fields
    if isinstance(value, bool) and kind in (int, float):
        return False
    try:
        return isinstance(value, (int, float) if kind is float else kind)
    except TypeError:  # Any, a NewType, a TypedDict
        return True


def as_written(value: Any, kind: Any) -> Any:
    """``value``, which JSON gave back, with tuples where ``kind`` has them or any sequence."""
    options = get_args(kind) if get_origin(kind) in (*UNIONS, Final) else [kind]
    for origin, kinds in ((get_origin(k) or k, get_args(k)) for k in options):
        if isinstance(value, dict) and origin is dict and kinds:
            return {k: as_written(v, kinds[1]) for k, v in value.items()}
        if isinstance(value, list) and origin in (tuple, list, Sequence):
            each = kinds if kinds and origin is tuple and kinds[1:] != (...,) else (*kinds[:1], Any)[:1] * len(value)
            if len(each) == len(value):  # else it stays what no such setting is
                return (list if origin is list else tuple)(map(as_written, value, each))
    return value
