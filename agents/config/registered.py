"""Plugins by name: the registries, their settings in `Config`, and checks of user-defined plugins."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
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
from ...envs.observation_reader import one_line
from .config import Config
from .validation import validated


class Kind(NamedTuple):
    """One of the two kinds of plugins: auxiliary losses or intrinsic rewards."""

    registry: dict[str, type[Auxiliary]]
    parent: type[Auxiliary]
    settings: type[AuxiliaryConfig]
    word: str
    called: str


KINDS = {
    "aux": Kind(AUXILIARY_LOSSES, AuxiliaryLoss, LossConfig, "loss", "auxiliary loss"),  # type: ignore[arg-type]
    "intrinsic": Kind(INTRINSIC_REWARDS, IntrinsicReward, IntrinsicConfig, "reward", "intrinsic reward"),  # type: ignore[arg-type]
}
"""The kinds by the field of `Config` that holds their settings, which is also the prefix of their flags."""


def known(kind: str, name: str) -> type[Auxiliary]:
    """Return the class registered under a name. UserError if there is none, or if it is not of this kind."""
    registry, parent, settings, word, called = KINDS[kind]
    if name not in registry:
        near = suggest(name, registry) if registry else "there is none yet."
        near += "" if near[-1] in ".?" else "."
        raise UserError(f"Unknown {called} '{name}': {near} Add your own with --import FILE.")
    found: object = registry[name]
    if not (isinstance(found, type) and issubclass(found, parent)):
        rule = f"it must derive from {parent.__name__}"
        raise UserError(f"The class registered as the {word} '{name}' is not valid: {rule}.")
    if not issubclass(found.Config, settings):
        lacks = f"does not derive from {settings.__name__}, so it has no weight"
        raise UserError(f"The Config of the {word} '{name}' {lacks}.")
    return found


def copied(plugins: Mapping[str, Auxiliary] | None) -> dict[str, Auxiliary]:
    """Return copies of losses and rewards that somebody built, their settings checked: each run begins with its own.
    UserError, naming it, for what is none, and for settings that are odd.
    """
    found = {}
    for name, module in (plugins or {}).items():
        if not isinstance(name, str):
            raise UserError(f"A plugin's name is a word, not {name!r}.")
        kind = next((k for k in KINDS.values() if isinstance(module, k.parent)), None)
        if kind is None:
            raise UserError(f"'{name}' is a {type(module).__name__}, which is no AuxiliaryLoss or IntrinsicReward.")
        if not isinstance(getattr(module, "config", None), kind.settings):
            settings = f"settings of the class {kind.settings.__name__}"
            raise UserError(f"The {kind.word} '{name}' has to be built with {settings}.")
        try:
            found[name] = copy.deepcopy(module)
        except Exception as error:
            what = f"{type(error).__name__}: {one_line(error)}"
            raise UserError(f"The {kind.word} '{name}' cannot be copied for the run: {what}.") from error
        found[name].config = validated(module.config, f"plugins.{name}.")
    return found


def refuse_unknown(words: Sequence[str]) -> None:
    """Raise UserError for flags of losses or rewards that are not registered."""
    for word in words:
        flag, *rest = word.partition("=")[0].split(".")
        kind = flag.removeprefix("--")
        if not flag.startswith("--") or kind not in KINDS or (kind, *rest) == ("intrinsic", "combine"):
            continue
        typed = rest[0].replace("-", "_") if rest else ""
        name = next((n for n in KINDS[kind].registry if n.replace("-", "_") == typed), typed)
        if not name:
            near = next(iter(KINDS[kind].registry), "NAME").replace("_", "-")
            raise UserError(f"{flag} needs the name of a {KINDS[kind].word}, such as {flag}.{near}.weight 1")
        known(kind, name)


def with_all_registered(config: Config) -> Config:
    """Return ``config`` with every registered loss and reward, those not set at weight 0, from which flags are
    generated.
    """
    every = {
        kind: {name: known(kind, name).Config() for name in KINDS[kind].registry} | getattr(config, kind)
        for kind in KINDS
    }
    return dataclasses.replace(config, **every)
