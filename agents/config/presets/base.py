"""What a preset is: named settings, with the paper they are from."""

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
    """Settings with a name. ``config`` holds them for the preset's own unroll, ``at`` gives them for any other."""

    config: Config
    about: str
    """One line for ``morello list presets``, with the paper."""
    follow: Callable[[Config], Config] = unchanged
    """Sets what depends on ``Config.unroll``."""

    def at(self, unroll: int) -> Config:
        """Return the settings for unrolls of another length. UserError for a length that cannot be."""
        length = validated_field(Config, "unroll", unroll)
        return self.follow(dataclasses.replace(self.config, unroll=length))
