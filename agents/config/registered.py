"""What plugs in by name: the registries, their settings in `Config`, and what is refused of somebody's own."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ...auxiliaries import (
    AUXILIARY_LOSSES,
    INTRINSIC_REWARDS,
    Auxiliary,
    AuxiliaryConfig,
    AuxiliaryLoss,
    IntrinsicConfig,
    IntrinsicReward,
    LossConfig,
)
from ...envs.errors import UserError, suggest
from .config import Config


class Kind(NamedTuple):
    """One of the two kinds of what plugs in."""

    registry: dict[str, type[Auxiliary]]
    parent: type[Auxiliary]
    settings: type[AuxiliaryConfig]
    word: str
    called: str


KINDS = {
    "aux": Kind(AUXILIARY_LOSSES, AuxiliaryLoss, LossConfig, "loss", "auxiliary loss"),  # type: ignore[arg-type]
    "intrinsic": Kind(INTRINSIC_REWARDS, IntrinsicReward, IntrinsicConfig, "reward", "intrinsic reward"),  # type: ignore[arg-type]
}
"""By the field of `Config` that holds their settings by name, with which their flags begin too."""


def known(kind: str, name: str) -> type[Auxiliary]:
    """Return the class of this name. UserError for one that is not registered, or that is none."""
    registry, parent, settings, word, called = KINDS[kind]
    if name not in registry:
        near = suggest(name, registry) if registry else "there is none yet."
        raise UserError(f"Unknown {called} '{name}': {near} One of your own needs --import FILE.")
    found: object = registry[name]
    if not (isinstance(found, type) and issubclass(found, parent)):
        rule = f"a class that derives from {parent.__name__} is"
        raise UserError(f"What is registered as the {word} '{name}' is none: {rule}.")
    if not issubclass(found.Config, settings):
        lacks = f"does not derive from {settings.__name__}, so it has no weight"
        raise UserError(f"The Config of the {word} '{name}' {lacks}.")
    return found


def with_all_registered(config: Config) -> Config:
    """Return ``config`` with all that is registered, the others at weight 0: what flags are made of."""
    every = {
        kind: {name: known(kind, name).Config() for name in KINDS[kind].registry} | getattr(config, kind)
        for kind in KINDS
    }
    return dataclasses.replace(config, **every)
