"""Settings: from what a person wrote to values that are decided and checked, and back from a run folder."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import torch

from ..auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss, LossConfig
from ..backbones import MEMORIES, TORSOS
from ..envs import forked, options_of
from ..envs.errors import UserError, suggest
from ..envs.workers import cores
from . import checkpoint
from .config_file import CHECKPOINTS, CONFIG, read_config
from .files import named
from .learner import LearnerConfig
from .presets import BY_UNROLL, PRESETS, Config
from .replay import ReplayConfig
from .typed import as_written, fields_of, is_a

FREE_TO_CHANGE = {
    "run", "resume", "quiet", "keep", "log_every", "eval_every", "eval_episodes", "eval_limit", "eval_video",
    "checkpoint_every", "checkpoint_replay", "steps", "device", "threads", "restart_envs", "env_workers", "env_timeout",
}  # fmt: skip
"""Settings a resumed run may change; any other would make it another run."""


NEVER_SAVED = {"trust"}
"""What a folder has no say in."""


class Range(NamedTuple):
    """Which numbers a setting may be, and how to say so. NaN is in none."""

    holds: Callable[[float], bool]
    words: str


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

COUNT = Range(lambda x: 1 <= x < 2**63, "at least 1 and below 2^63")
EVERY = Range(lambda x: 0 <= x < 2**63, "0 (never) or more and below 2^63")
WIDTH = Range(lambda x: 1 <= x <= 2**20, "1 to 2^20")
SHARE = Range(lambda x: 0 <= x <= 1, "between 0 and 1")
POSITIVE = Range(lambda x: 0 < x < math.inf, "more than 0 and finite")
NOT_NEGATIVE = Range(lambda x: 0 <= x < math.inf, "0 or more and finite")

RANGES: dict[str, Range] = {
    **dict.fromkeys(("steps", "num_envs", "unroll", "frame_size", "capacity"), COUNT),
    "memory_size": Range(lambda x: 2 <= x < 2**63, "at least 2 and below 2^63"),  # a transformer's norm leaves 0 of one
    **dict.fromkeys(("log_every", "eval_episodes", "eval_limit", "keep"), COUNT),
    **dict.fromkeys(("frame_stack", "action_repeat"), Range(lambda x: 1 <= x <= 1024, "1 to 1024")),
    "time_limit": COUNT,
    "env_workers": Range(lambda x: 0 <= x <= 1024, "0 (in this process) to 1024"),
    **dict.fromkeys(("eval_every", "checkpoint_every"), EVERY),
    "burn_in": Range(lambda x: 0 <= x < 2**63, "0 (none) or more and below 2^63"),
    "seed": Range(lambda x: 0 <= x < 2**62, "0 or more and below 2^62"),  # evaluations add theirs to it
    **dict.fromkeys(("gamma", "vtrace_lambda", "sticky_actions", "momentum", "share"), SHARE),
    "rms_decay": Range(lambda x: 0 <= x < 1, "0 or more and below 1"),
    **dict.fromkeys(("learning_rate", "epsilon", "max_grad_norm", "rho_bar", "c_bar", "env_timeout"), POSITIVE),
    "ratio": Range(lambda x: 0 < x <= 1000, "more than 0 and at most 1000"),
    **dict.fromkeys(("hidden", "latent", "embedding", "batch", "queries", "negatives"), WIDTH),
    **dict.fromkeys(("horizons", "cell", "channels"), Range(lambda x: 1 <= x <= 4096, "1 to 4096")),
    "aux.spr.steps": Range(lambda x: 1 <= x <= 4096, "1 to 4096"),
    "pad": Range(lambda x: 0 <= x <= 4096, "0 to 4096"),
    **dict.fromkeys(("value_cost", "entropy_cost", "initial_mean_square", "weight"), NOT_NEGATIVE),
}

LARGEST = 2**40
"""Bytes: a rollout and a network that need more are a slip of the finger."""


def resolve(config: Config) -> Config:
    """``config`` with every "auto" decided and every value checked. UserError names what is wrong."""
    if not config.env:
        if config.resume and config.run:
            raise UserError(f"{config.run} holds no run to go on with: name another --run, or begin one with --env.")
        raise UserError("No environment given: add --env family:name, such as --env labyrinth:seekavoid_arena_01.")
    run = None if config.run is None else str(config.run)  # from Python it may be a Path, and a torch.device
    config = dataclasses.replace(config, run=run, device=str(config.device))
    check(config)
    check(config.learner)
    check(config.replay, "replay.")
    for name, loss in config.aux.items():
        kind = _known_loss(name).Config
        if not isinstance(loss, kind):
            raise UserError(f"The loss '{name}' takes a number, its weight, or a {kind.__name__}, not {loss!r}.")
        check(loss, f"aux.{name}.")
        if not loss.weight:
            known = [kind(), *(p.aux[name] for p in PRESETS.values() if name in p.aux)]
            if all(loss != dataclasses.replace(k, weight=loss.weight) for k in known):
                flag = _flag(f"aux.{name}.weight")
                raise UserError(f"The loss '{name}' is given settings at weight 0, where it is off: add {flag} 1.")
    if run is not None and not run.strip():
        raise UserError("--run is empty: name a folder, or leave it out.")
    if config.resume and run is None:
        raise UserError("--resume needs the folder to go on in: add --run FOLDER.")
    if least_bytes(config) > LARGEST:
        raise UserError(
            f"A run of this size needs {least_bytes(config) / 2**40:,.0f} TiB of memory or more: lower --num-envs, "
            "--unroll, --frame-size, --memory-size or --replay.capacity."
        )
    device = resolve_device(config.device)
    most = forked.most(cores())
    if config.threads is not None and not 1 <= config.threads <= most:
        there = "1 in a forked child of a process with threads" if forked.is_child() else f"the {most} cores there are"
        raise UserError(f"--threads must be between 1 and {there}, not {config.threads}.")
    dtype = config.dtype
    if dtype == "auto":
        dtype = "bfloat16" if multiplies_bfloat16(device) else "float32"
    return dataclasses.replace(
        config, device=str(device), dtype=dtype, threads=config.threads or most,
        aux={name: loss for name, loss in config.aux.items() if loss.weight},
    )  # fmt: skip


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
            raise UserError(f"{_flag(setting)} is not for {name}: leave it out.")
    if config.get("frame_size") is not None:
        check_range("frame_size", tuple(config["frame_size"]))
        options["height"], options["width"] = config["frame_size"]
    return options


def check(config: Any, prefix: str = "") -> None:
    """UserError for the first field of a dataclass that is of another type, no known word or out of its range;
    ``prefix`` goes before its name.
    """
    words = {"torso": ("auto", *TORSOS), "memory": tuple(MEMORIES)}  # registries may have grown
    for name, kind in fields_of(type(config)).items():
        value, ours = getattr(config, name), _is_ours(type(config), name)
        known = (ours and words.get(name)) or (get_args(kind) if get_origin(kind) is Literal else ())
        if known and value not in known:
            raise UserError(f"Unknown {prefix}{name} {value!r}: {suggest(str(value), known)}")
        if not known and not is_a(value, kind):
            said = getattr(kind, "__name__", kind)
            raise UserError(f"{_flag(prefix + name)} must be of type {said}, not {value!r}.")
        if ours:
            check_range(name, value, prefix)


def check_range(name: str, value: Any, prefix: str = "") -> None:
    """UserError if a number, or one of several, is outside of what the setting ``name`` may be."""
    numbers = value if isinstance(value, tuple) else () if value is None else (value,)
    allowed = RANGES.get(prefix + name, RANGES.get(name))
    if allowed and not all(map(allowed.holds, numbers)):
        raise UserError(f"{_flag(prefix + name)} must be {allowed.words}, not {value}.")


def _is_ours(kind: type, name: str) -> bool:
    """Whether a dataclass of this package has the field, or only a loss of somebody's own, who gives it a meaning."""
    declare = [c for c in kind.__mro__ if name in inspect.get_annotations(c)]
    return any(c.__module__.partition(".")[0] == __name__.partition(".")[0] for c in declare)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def least_bytes(config: Config) -> int:
    """Of one rollout, a replay and the two layers that grow fastest, in the largest torso and in an LSTM."""
    pixels = math.prod(config.frame_size or (84, 84))
    memory = 0 if config.memory == "none" else config.memory_size
    rows = (config.unroll + 1) * config.num_envs
    if any(AUXILIARY_LOSSES[name].data != "rollout" for name, loss in config.aux.items() if loss.weight):
        rows += config.replay.capacity
    return rows * (3 * pixels * (config.frame_stack or 1) + 4 * memory) + 2048 * pixels + 16 * memory**2


def resolve_device(name: str) -> torch.device:
    """"auto", "cpu", "cuda" or "cuda:1" to a device that is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"Unknown device '{name}': {suggest(name, ['cpu', 'cuda', 'cuda:0', 'auto'])}")
    if device.type == "cuda":
        forked.refuse_cuda()
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"Device '{name}' is not here: this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def preset_named(name: str, unroll: int | None = None) -> Config:
    """The defaults of a preset, those that follow it for an ``unroll`` other than its own."""
    if name not in PRESETS:
        raise UserError(f"Unknown preset '{name}': {suggest(name, PRESETS)}")
    if name in BY_UNROLL and isinstance(unroll, int) and unroll >= 1:
        return BY_UNROLL[name](unroll)
    return PRESETS[name]


def saved_settings(config: Config, preset: str | None = None) -> tuple[str, Config] | None:
    """Preset and settings of the run that ``config`` resumes, if it has begun; ``preset`` is what it should be."""
    if not config.resume or not config.run or not checkpoint.exists(named(config.run) / CHECKPOINTS):
        return None
    begun, saved = read_settings(named(config.run))
    if preset not in (None, begun):
        raise UserError(
            f"{config.run} was begun with preset {begun}, not {preset}: leave the preset out, or name another folder."
        )
    return begun, saved


def read_settings(folder: Path) -> tuple[str, Config]:
    """Preset and Config a run was begun with, on no more threads than there are cores here. UserError where they cannot
    be what a run was begun with.
    """
    saved, _ = read_config(folder)
    names = {f.name for f in dataclasses.fields(Config)} - NEVER_SAVED
    for name in sorted({*names, "preset"} - saved.keys()):
        raise _other_version(folder, f"lacks the setting '{name}'")
    values: dict[str, Any] = {k: as_written(v, fields_of(Config)[k]) for k, v in saved.items() if k in names}
    if values["threads"] is not None:
        values["threads"] = max(1, min(values["threads"], forked.most(cores())))
    for name in values["aux"]:
        if name not in AUXILIARY_LOSSES:
            raise UserError(f"{folder} was trained with a loss '{name}' that is not known here: --import its file.")
    values["learner"] = from_saved(folder, LearnerConfig, values["learner"])
    values["replay"] = from_saved(folder, ReplayConfig, values["replay"], "replay.")
    losses = values["aux"].items()
    values["aux"] = {k: from_saved(folder, AUXILIARY_LOSSES[k].Config, v, f"aux.{k}.") for k, v in losses}
    config = Config(**values)
    _check_saved(folder, config)
    return saved["preset"], config


def from_saved(folder: Path, kind: type[Any], saved: Any, prefix: str = "") -> Any:
    """A dataclass as a run folder keeps it. UserError where its fields are others, or may not be what they are;
    ``prefix`` goes before their names.
    """
    found = saved if isinstance(saved, dict) else {}
    for name in sorted({f.name for f in dataclasses.fields(kind)} ^ found.keys()):
        raise _other_version(folder, f"{'has an unknown' if name in found else 'lacks the'} setting '{name}'")
    config = kind(**{k: as_written(found[k], hint) for k, hint in fields_of(kind).items()})
    _check_saved(folder, config, prefix)
    return config


def _check_saved(folder: Path, config: Any, prefix: str = "") -> None:
    try:
        check(config, prefix)
    except UserError as error:
        raise UserError(f"{folder / CONFIG} is damaged ({str(error).rstrip('.')}): restore it from a copy") from error


def _other_version(folder: Path, how: str) -> UserError:
    return UserError(
        f"{folder} is a run of another version of morello, for its {CONFIG} {how}: resume it with that version, "
        "or begin a run in another folder."
    )


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
    return dataclasses.replace(config.aux.get(name, _known_loss(name).Config()), weight=float(given))


def _known_loss(name: str) -> type[AuxiliaryLoss]:
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
    known: dict[str, LossConfig] = {name: _known_loss(name).Config() for name in AUXILIARY_LOSSES}
    return dataclasses.replace(config, aux=known | config.aux)
