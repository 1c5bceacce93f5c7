"""The settings that are options of ``make``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...envs import EnvSettings, options_of
from ...envs.errors import UserError
from .config import Config
from .validation import flag_of, validated_field


def environment_options(config: Mapping[str, Any], env: str | None = None) -> dict[str, Any]:
    """Return the options of ``make`` that a config, as a dict, asks for; for another ``env``, those that it knows.
    UserError, by its flag, for one that the config's own does not.
    """
    name = str(config["env"]) if env is None else env
    known = options_of(name)
    options: dict[str, Any] = {}
    for option in (field.name for field in dataclasses.fields(EnvSettings)):
        value = config.get(option)
        if value in (None, "none", "own"):
            continue
        value = validated_field(Config, option, value)
        if option in known:
            options[option] = value
        elif value is not False and name == config["env"]:
            raise UserError(f"{flag_of(option)} is not for {name}: leave it out.")
    return options
