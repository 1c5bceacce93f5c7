"""The preset: named settings and their paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..config import Config
from ..validation import validated_field


def unchanged(config: Config) -> Config:
    """Return ``config``: none of its settings depends on the unroll."""
    return config


@dataclasses.dataclass(frozen=True)
class Preset:
    """Named settings. ``config`` holds them for the preset's own unroll length, ``at`` returns them for another."""

    config: Config
    about: str
    """One line for ``morello list presets``, with the paper."""
    follow: Callable[[Config], Config] = unchanged
    """Function that sets whatever depends on ``Config.unroll``."""

    def at(self, unroll: int) -> Config:
        """Return the settings for another unroll length. UserError for an invalid length."""
        length = validated_field(Config, "unroll", unroll)
        return self.follow(dataclasses.replace(self.config, unroll=length))
