"""A preset with fields replaced by name, and with the losses that are registered."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss, LossConfig
from ...envs.errors import UserError, suggest
from .config import Config
from .presets import PRESETS, Preset


def preset_named(name: str) -> Preset:
    """Return a preset, or raise UserError with what is near."""
    if name not in PRESETS:
        raise UserError(f"Unknown preset '{name}': {suggest(name, PRESETS)}")
    return PRESETS[name]


def with_overrides(config: Config, overrides: Mapping[str, Any]) -> Config:
    """``config`` with fields of its own or of its learner replaced by name. ``aux`` adds to the losses there are; a
    number is a weight.
    """
    learner = {f.name for f in dataclasses.fields(config.learner)}
    own = {f.name for f in dataclasses.fields(config)} - {"learner"}
    unknown = [k for k in overrides if k not in own | learner]
    if unknown:
        raise UserError(f"Unknown setting '{unknown[0]}': {suggest(unknown[0], sorted(own | learner))}")
    changed = dataclasses.replace(config.learner, **{k: v for k, v in overrides.items() if k in learner})
    ours = {k: v for k, v in overrides.items() if k in own}
    if isinstance(ours.get("aux"), Mapping):
        ours["aux"] = config.aux | {name: _loss(config, name, given) for name, given in ours["aux"].items()}
    return dataclasses.replace(config, learner=changed, **ours)


def _loss(config: Config, name: str, given: Any) -> Any:
    """A loss by its weight, else as ``config`` has it; or as it is given."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return given
    return dataclasses.replace(config.aux.get(name, known_loss(name).Config()), weight=float(given))


def known_loss(name: str) -> type[AuxiliaryLoss]:
    """UserError for one that is not registered, or that is no loss."""
    if name not in AUXILIARY_LOSSES:
        known = suggest(name, AUXILIARY_LOSSES)
        raise UserError(f"Unknown auxiliary loss '{name}': {known} One of your own needs --import FILE.")
    kind: object = AUXILIARY_LOSSES[name]
    if not (isinstance(kind, type) and issubclass(kind, AuxiliaryLoss)):
        raise UserError(f"What is registered as the loss '{name}' is none: a class that derives from AuxiliaryLoss is.")
    if not issubclass(kind.Config, LossConfig):
        raise UserError(f"The Config of the loss '{name}' does not derive from LossConfig, so it has no weight.")
    return kind


def with_every_loss(config: Config) -> Config:
    """``config`` with every loss that is registered, the others at weight 0: what flags are made of."""
    known: dict[str, LossConfig] = {name: known_loss(name).Config() for name in AUXILIARY_LOSSES}
    return dataclasses.replace(config, aux=known | config.aux)
