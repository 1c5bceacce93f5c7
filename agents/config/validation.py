"""Validation of settings by msgspec against the types and ranges of their fields, with one-sentence errors."""

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
    """Return ``config`` with every value converted to the type of its field: integers become floats and lists become
    tuples where needed. UserError for the first field with a wrong type, an unknown choice or a value out of range;
    ``prefix`` is prepended to its name.
    """
    kinds, ranges = fields_of(type(config)), ranges_of(type(config))
    given = {name: getattr(config, name) for name in kinds}
    found = {name: _validated(prefix + name, v, kinds[name], ranges.get(name, ())) for name, v in given.items()}
    changed = {name: value for name, value in found.items() if value is not given[name]}
    return dataclasses.replace(config, **changed) if changed else config


def validated_field(owner: type[Any], name: str, value: Any) -> Any:
    """Return ``value`` converted to the type of the field ``name`` of a dataclass. UserError if it is invalid."""
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
    """Return the types, without ranges, of a dataclass's constructor fields by name."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def ranges_of(kind: type[Any]) -> dict[str, list[Any]]:
    """Return a dataclass's annotations that contain a range, by name, from every class that defines one: a user-defined
    loss that redeclares its weight is still held to the range in `LossConfig`.
    """
    found: dict[str, list[Any]] = {}
    for declaring in kind.__mro__:
        own = inspect.get_annotations(declaring)
        for name, annotated in get_type_hints(declaring, include_extras=True).items() if own else ():
            if name in own and _meta_in(annotated) is not None:
                found.setdefault(name, []).append(annotated)
    return found


def converted(value: Any, kind: Any) -> Any:
    """Return ``value`` converted to type ``kind``, where JSON's lists may become tuples. msgspec.ValidationError if
    that is impossible; values of types unknown to msgspec are returned unchanged.
    """
    if isinstance(value, float):
        value = float(value)  # NumPy's float64 is a float, but msgspec does not accept it
    if get_origin(kind) is dict and any(map(dataclasses.is_dataclass, get_args(kind))):
        kind = dict  # settings within settings are validated by their own fields
    if dataclasses.is_dataclass(kind) and isinstance(value, cast(type, kind)):
        return value  # also of a subclass, which msgspec does not accept
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise
    except Exception:  # values of users' types, and of unions of several, are not checked
        return value


def flag_of(name: str) -> str:
    """Return the flag of the setting ``name``."""
    return "--" + name.rstrip("_").replace("_", "-")  # of lambda_, which Python reserves without its underscore


def _meta_in(kind: Any) -> msgspec.Meta | None:
    """Return the first range in an annotation."""
    for part in getattr(kind, "__metadata__", ()):
        if isinstance(part, msgspec.Meta):
            return part
    return next((found for part in get_args(kind) if (found := _meta_in(part)) is not None), None)


def _numbers(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _is_representable(value: Any) -> bool:
    """Return whether a number is finite and fits into 64 bits. msgspec's ranges cannot express either, except as a
    limit repeated at each field.
    """
    return math.isfinite(value) if isinstance(value, float) else not isinstance(value, int) or abs(value) < 2**63


def _words(meta: msgspec.Meta | None, value: Any) -> str:
    """Describe in words what is accepted."""
    assert meta is not None
    return f"a multiple of {meta.multiple_of}, {_range(meta, value)}" if meta.multiple_of else _range(meta, value)


def _range(meta: msgspec.Meta, value: Any) -> str:
    """Describe a range in words; without an upper end, it ends at the largest representable number."""
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
