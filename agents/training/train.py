"""The Python interface of training: settings in, a run folder out."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

from ...auxiliaries import Auxiliary
from ...envs.errors import UserError
from ..config.build import Parts, build, environment, network
from ..config.config import Config
from ..config.overrides import preset_named, with_overrides
from ..config.presets import Preset
from ..config.resolve import resolve
from ..storage.paths import same_directory
from ..storage.run_folder import Run
from .console import forgiving
from .loop import Training
from .signals import Stopped, stoppable

__all__ = ["Parts", "Training", "build", "environment", "network", "start", "train"]


def train(
    settings: str | Preset | Config = "a2c",
    *,
    preset: str = "custom",
    plugins: Mapping[str, Auxiliary] | None = None,
    on_record: Callable[[dict[str, Any]], None] | None = None,
    **overrides: Any,
) -> Run:
    """Train an agent and return its run folder, as ``morello train`` does.

    ``settings`` is the name of a preset, a Preset or a complete Config (named by ``preset``); ``overrides`` are fields
    of Config or LearnerConfig (``env=..., steps=..., learning_rate=...``). Settings that a preset derives from the
    unroll are adapted to an ``unroll`` given here; a Config is used as it is. ``plugins`` are auxiliary losses and
    intrinsic rewards by name; a copy of each is trained. ``on_record`` receives each record of metrics. Raises
    UserError for errors that the caller can correct and NonFiniteError if training diverges. After a signal a
    checkpoint is written, then KeyboardInterrupt is raised for Ctrl-C and SystemExit for other signals.
    """
    if isinstance(settings, str):
        if preset != "custom":
            raise UserError(f"a preset is given first, train({preset!r}, ...): 'preset' only names a Config or Preset.")
        preset, settings = settings, preset_named(settings)
    if isinstance(settings, Preset):
        settings = settings.at(overrides["unroll"]) if "unroll" in overrides else settings.config
    config = resolve(with_overrides(settings, overrides))
    try:
        return start(preset, config, plugins, on_record)
    except Stopped as stopped:
        if stopped.number == signal.SIGINT:  # Python exits with 130 only for KeyboardInterrupt itself
            raise KeyboardInterrupt(str(stopped)) from None
        raise SystemExit(stopped.code) from stopped


def start(
    preset: str,
    config: Config,
    plugins: Mapping[str, Auxiliary] | None = None,
    on_record: Callable[[dict[str, Any]], None] | None = None,
) -> Run:
    """Train with resolved settings. Raises `Stopped` after a signal."""
    with forgiving(), same_directory(), stoppable() as stop:
        return Training(preset, config, plugins, stop).run(on_record)
