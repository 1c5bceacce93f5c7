"""Settings read back from a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...auxiliaries.intrinsic.count import CountConfig
from ...auxiliaries.intrinsic.e3b import E3BConfig
from ...envs.errors import UserError
from ...envs.processes import forked
from ...envs.processes.workers import cores
from ..learner_config import ExtrinsicConfig, LearnerConfig
from ..replay import ReplayConfig
from ..storage import checkpoint
from ..storage.config_file import CHECKPOINTS, CONFIG
from ..storage.files import named
from .checked import read_checked
from .config import Config
from .registered import KINDS
from .validation import T, fields_of, validated

FREE_TO_CHANGE = {
    "run",
    "resume",
    "quiet",
    "keep",
    "log_every",
    "eval_every",
    "eval_episodes",
    "eval_limit",
    "eval_video",
    "checkpoint_every",
    "checkpoint_replay",
    "steps",
    "device",
    "threads",
    "restart_envs",
    "env_workers",
    "env_timeout",
}
"""Settings that a resumed run may change; a change of any other would make it a different run."""

NEVER_SAVED = {"trust"}
"""Settings that are never saved in, or read from, a run folder."""

NEWER: dict[str, Any] = {"runner": "sync", "intrinsic": {}, "extrinsic": {"weight": 1.0}, "stagger": False}
"""Settings that earlier versions did not have, with the values that reproduce those versions."""

NEWER_FIELDS: dict[type[Any], dict[str, Any]] = {
    LearnerConfig: {
        "optimizer": "rmsprop",
        "epochs": 1,
        "minibatches": 1,
        "segment": None,
        "clip": None,
        "advantage": "raw",
        "value_clip": None,
        "target_kl": None,
        "final_entropy_cost": None,
    },
    ReplayConfig: {"every": "epoch", "policy": 0.0},
    CountConfig: {"once": False},
    E3BConfig: {"unit": False},
}
"""The same for settings of parts of a run."""

RENAMED = {"vtrace_lambda": "lambda_"}
"""Settings of a learner or a loss that earlier versions gave other names."""


def modern(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run folder with those that earlier versions lacked, by the names that they have now."""
    found = NEWER | dict(saved)
    for name, kind in (("learner", LearnerConfig), ("replay", ReplayConfig)):
        if isinstance(found.get(name), Mapping):
            found[name] = _modern(kind, found[name])
    for name, (registry, *_) in KINDS.items():
        if isinstance(found.get(name), Mapping):
            own = found[name].items()
            found[name] = {k: _modern(registry[k].Config, v) if k in registry else v for k, v in own}
    return found


def _modern(kind: type[Any], saved: Any) -> dict[str, Any]:
    """Return the saved form of a dataclass with the fields that earlier versions lacked or gave other names."""
    given: dict[str, Any] = saved if isinstance(saved, dict) else {}
    own = {f.name for f in dataclasses.fields(kind)}
    return NEWER_FIELDS.get(kind, {}) | {k if k in own else RENAMED.get(k, k): v for k, v in given.items()}


def saved_settings(config: Config, preset: str | None = None) -> tuple[str, Config] | None:
    """Return preset and settings of the run that ``config`` resumes, if it exists; ``preset`` is the expected one."""
    if not config.resume or not config.run or not checkpoint.exists(named(config.run) / CHECKPOINTS):
        return None
    begun, saved = read_settings(named(config.run))
    if preset not in (None, begun):
        raise UserError(
            f"{config.run} was begun with preset {begun}, not {preset}: leave the preset out, or name another folder."
        )
    return begun, saved


def read_settings(folder: Path) -> tuple[str, Config]:
    """Return the preset and Config that a run was begun with, with no more threads than this machine has cores.
    UserError if they are invalid.
    """
    saved = NEWER | read_checked(folder)[0]
    names = {f.name for f in dataclasses.fields(Config)} - NEVER_SAVED
    for name in sorted({*names, "preset"} - saved.keys()):
        raise _other_version(folder, f"lacks the setting '{name}'")
    values: dict[str, Any] = {k: v for k, v in saved.items() if k in names}
    if values["threads"] is not None:
        values["threads"] = max(1, min(values["threads"], forked.most(cores())))
    for kind, (registry, _, _, word, _) in KINDS.items():
        for name in values[kind]:
            if name not in registry:
                lost = f"a {word} '{name}' that is not known here"
                raise UserError(f"{folder} was trained with {lost}: --import its file.")
        own = values[kind].items()
        values[kind] = {k: from_saved(folder, registry[k].Config, v, f"{kind}.{k}.") for k, v in own}
    values["learner"] = from_saved(folder, LearnerConfig, values["learner"])
    values["replay"] = from_saved(folder, ReplayConfig, values["replay"], "replay.")
    values["extrinsic"] = from_saved(folder, ExtrinsicConfig, values["extrinsic"], "extrinsic.")
    return saved["preset"], _validated(folder, Config(**values))


def from_saved(folder: Path, kind: type[Any], saved: Any, prefix: str = "") -> Any:
    """Build a dataclass from its saved form in a run folder. UserError if fields are missing, unknown or invalid;
    ``prefix`` is prepended to their names in messages.
    """
    found = _modern(kind, saved)
    for name in sorted({f.name for f in dataclasses.fields(kind)} ^ found.keys()):
        raise _other_version(folder, f"{'has an unknown' if name in found else 'lacks the'} setting '{name}'")
    return _validated(folder, kind(**{name: found[name] for name in fields_of(kind)}), prefix)


def _validated(folder: Path, config: T, prefix: str = "") -> T:
    try:
        return validated(config, prefix)
    except UserError as error:
        raise UserError(f"{folder / CONFIG} is damaged ({str(error).rstrip('.')}): restore it from a copy") from error


def _other_version(folder: Path, how: str) -> UserError:
    return UserError(
        f"{folder} is a run of another version of morello, for its {CONFIG} {how}: resume it with that version, "
        "or begin a run in another folder."
    )
