"""The settings that are options of ``make``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...envs import options_of
from ...envs.errors import UserError
from .ranges import check_range, flag_of

ENVIRONMENT = {
    "restart_envs": "restart",
    "env_workers": "workers",
    "env_timeout": "timeout",
    "preprocessing": "preprocessing",
    "grey": "grey",
    "frame_stack": "stack",
    "action_repeat": "repeat",
    "sticky_actions": "sticky",
    "noisy_tv": "noisy_tv",
    "time_limit": "time_limit",
    "life_loss": "life_loss",
}
"""Settings that are options of ``make``, and their names there."""

PLAY = ("sticky", "noisy_tv", "time_limit")
"""Options that change how an environment of any family is played, and not only how it looks."""


def environment_options(config: Mapping[str, Any], env: str | None = None) -> dict[str, Any]:
    """The options of ``make`` that a config, as a dict, asks for; for another ``env``, those that it knows. UserError,
    by its flag, for one that the config's own does not.
    """
    name = str(config["env"]) if env is None else env
    known = options_of(name)
    options: dict[str, Any] = {}
    for setting, option in ENVIRONMENT.items():
        value = config.get(setting)
        if value in (None, "none", "own"):
            continue
        check_range(setting, value)
        if option in known:
            options[option] = value
        elif value is not False and name == config["env"]:
            raise UserError(f"{flag_of(setting)} is not for {name}: leave it out.")
    if config.get("frame_size") is not None:
        check_range("frame_size", tuple(config["frame_size"]))
        options["height"], options["width"] = config["frame_size"]
    return options
