"""Settings held against the types and ranges beside their fields, by msgspec; what is refused in one sentence."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from ...envs.errors import UserError, suggest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def validated(config: T, prefix: str = "") -> T:
    """Return ``config`` with values of the very types of its fields: whole numbers become floats and lists tuples where
    these are asked for. UserError for the first field of another type, of no known word or out of its range; ``prefix``
    goes before its name.
    """
    kinds, ranges = fields_of(type(config)), ranges_of(type(config))
    given = {name: getattr(config, name) for name in kinds}
    found = {name: _validated(prefix + name, v, kinds[name], ranges.get(name, ())) for name, v in given.items()}
    changed = {name: value for name, value in found.items() if value is not given[name]}
    return dataclasses.replace(config, **changed) if changed else config


def validated_field(owner: type[Any], name: str, value: Any) -> Any:
    """Return ``value`` as the field ``name`` of a dataclass may hold it, or raise UserError."""
    return _validated(name, value, fields_of(owner)[name], ranges_of(owner).get(name, ()))


def _validated(name: str, value: Any, kind: Any, ranges: Iterable[Any]) -> Any:
    words = get_args(kind) if get_origin(kind) is Literal else ()
    if words and value not in words:
        raise UserError(f"Unknown {name} {value!r}: {suggest(str(value), words)}")
    try:
        found = value if words else converted(value, kind)
    except msgspec.ValidationError:
        raise UserError(f"{flag_of(name)} must be of type {getattr(kind, '__name__', kind)}, not {value!r}.") from None
    for annotated in ranges:
        try:
            held = all(map(_is_representable, _numbers(converted(found, annotated))))
        except msgspec.ValidationError:
            held = False
        if not held:
            raise UserError(f"{flag_of(name)} must be {_words(_meta_in(annotated), found)}, not {value}.")
    return found


def fields_of(kind: type[Any]) -> dict[str, Any]:
    """Return the types, without ranges, of what a dataclass is built with, by name."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def ranges_of(kind: type[Any]) -> dict[str, list[Any]]:
    """Return the annotations of a dataclass that hold a range, by name, from each class that gives one: a loss of
    somebody's own that declares its weight anew is held to the range in `LossConfig` still.
    """
    found: dict[str, list[Any]] = {}
    for declaring in kind.__mro__:
        own = inspect.get_annotations(declaring)
        for name, annotated in get_type_hints(declaring, include_extras=True).items() if own else ():
            if name in own and _meta_in(annotated) is not None:
                found.setdefault(name, []).append(annotated)
    return found


def converted(value: Any, kind: Any) -> Any:
    """Return ``value`` as one of type ``kind``, in which JSON's lists may be tuples. msgspec.ValidationError for what
    it cannot be; what msgspec has no notion of stays as it is.
    """
    if isinstance(value, float):
        value = float(value)  # NumPy's float64 is a float, which msgspec does not look for
    if get_origin(kind) is dict and any(map(dataclasses.is_dataclass, get_args(kind))):
        kind = dict  # settings within settings are validated by their own fields
    if dataclasses.is_dataclass(kind) and isinstance(value, cast(type, kind)):
        return value  # of a subclass too, which msgspec does not take
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise
    except Exception:  # types of somebody's own, and unions of several, may be anything
        return value


def flag_of(name: str) -> str:
    """Return the flag of the setting ``name``."""
    return "--" + name.replace("_", "-")


def _meta_in(kind: Any) -> msgspec.Meta | None:
    """Return the first range in an annotation."""
    for part in getattr(kind, "__metadata__", ()):
        if isinstance(part, msgspec.Meta):
            return part
    return next((found for part in get_args(kind) if (found := _meta_in(part)) is not None), None)


def _numbers(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _is_representable(value: Any) -> bool:
    """Whether a number is finite and fits into 64 bits. msgspec's ranges cannot say either, except as a limit that is
    to be repeated at each field.
    """
    return math.isfinite(value) if isinstance(value, float) else not isinstance(value, int) or abs(value) < 2**63


def _words(meta: msgspec.Meta | None, value: Any) -> str:
    """Say a range; without an upper end it is that of the numbers there are."""
    assert meta is not None
    if meta.ge is not None and meta.le is not None:
        return f"between {_said(meta.ge)} and {_said(meta.le)}"
    low = f"at least {_said(meta.ge)}" if meta.ge is not None else f"more than {_said(meta.gt)}"
    if meta.le is not None:
        return f"{low} and at most {_said(meta.le)}"
    if meta.lt is not None:
        return f"{low} and below {_said(meta.lt)}"
    return f"{low} and finite" if isinstance(value, float) else f"{low} and below 2^63"


def _said(bound: float | None) -> str:
    power = math.log2(bound) if bound and bound >= 2**20 else 0.5
    return f"2^{power:.0f}" if power.is_integer() else f"{bound}"
