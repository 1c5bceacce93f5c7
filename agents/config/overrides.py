"""Presets with fields replaced by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...envs.errors import UserError, suggest
from ..learner_config import ExtrinsicConfig
from .config import Config
from .presets import PRESETS, Preset
from .registered import KINDS, known


def preset_named(name: str) -> Preset:
    """Return a preset by name. UserError, with similar names, if there is none."""
    if name not in PRESETS:
        raise UserError(f"Unknown preset '{name}': {suggest(name, PRESETS)}")
    return PRESETS[name]


def with_overrides(config: Config, overrides: Mapping[str, Any]) -> Config:
    """Return ``config`` with fields of its own or of its learner replaced by name. Entries of ``aux`` and ``intrinsic``
    are added to the existing losses and rewards; a number is a weight.
    """
    learner = {f.name for f in dataclasses.fields(config.learner)}
    own = {f.name for f in dataclasses.fields(config)} - {"learner"}
    unknown = [k for k in overrides if k not in own | learner]
    if unknown:
        raise UserError(f"Unknown setting '{unknown[0]}': {suggest(unknown[0], sorted(own | learner))}")
    changed = dataclasses.replace(config.learner, **{k: v for k, v in overrides.items() if k in learner})
    ours = {k: v for k, v in overrides.items() if k in own}
    for kind in KINDS:
        if isinstance(ours.get(kind), Mapping):
            more = {name: _weighed(config, kind, name, given) for name, given in ours[kind].items()}
            ours[kind] = getattr(config, kind) | more
    weight = ours.get("extrinsic")
    if isinstance(weight, int | float) and not isinstance(weight, bool):
        ours["extrinsic"] = ExtrinsicConfig(float(weight))
    return dataclasses.replace(config, learner=changed, **ours)


def _weighed(config: Config, kind: str, name: str, given: Any) -> Any:
    """Return the settings of a loss or reward: if ``given`` is a number, those in ``config`` or the defaults with that
    weight; otherwise ``given``.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        return given
    own = getattr(config, kind).get(name, known(kind, name).Config())
    return dataclasses.replace(own, weight=float(given))
