"""Reading of ``config.json`` with a check of every known setting's type."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_origin

import msgspec

from ...envs.errors import UserError
from ...envs.experience import Spec
from ..storage.config_file import CONFIG, RESTORE, read_config
from .config import Config
from .validation import converted, fields_of

OLDER = {"bfloat16": bool, "streams": int}
"""Settings of earlier versions that are still read."""


def read_checked(folder: str | Path) -> tuple[dict[str, Any], Spec]:
    """Return the settings of a run and its environment's spec. UserError if ``folder`` is not a run, or if a setting
    has the wrong type.
    """
    config, spec = read_config(folder)
    for name, kind in (OLDER | fields_of(Config)).items():
        if name in config and not _may_be(config[name], kind):
            path, shown = Path(folder) / CONFIG, repr(config[name])[:60]
            raise UserError(f"{path} is damaged: its setting '{name}' is {shown}, which is not valid; {RESTORE}")
    return config, spec


def _may_be(value: Any, kind: Any) -> bool:
    """Return whether a value read from JSON can belong to a setting of type ``kind``. Literal choices are not checked:
    the version that wrote them may have had others.
    """
    if get_origin(kind) is Literal:
        kind = str
    if dataclasses.is_dataclass(kind):
        kind = dict
    numbers = value if isinstance(value, list) else [value]
    try:
        converted(value, kind)
    except msgspec.ValidationError:
        return False
    return all(not isinstance(x, int) or abs(x) < 2**63 for x in numbers)
