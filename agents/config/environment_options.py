"""Settings that are passed to ``make`` as options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...envs import EnvSettings, options_of
from ...envs.errors import UserError
from .config import Config
from .validation import flag_of, validated_field


def environment_options(config: Mapping[str, Any], env: str | None = None) -> dict[str, Any]:
    """Return the options of ``make`` that a config, given as a dict, sets; for another ``env``, only those that it
    supports. UserError, naming the flag, if the config's own environment does not support one.
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
