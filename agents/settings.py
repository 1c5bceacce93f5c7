"""Settings: from what a person wrote to values that are decided and checked, and back from a run folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..envs.errors import UserError, suggest
from . import checkpoint
from .learner import LearnerConfig
from .presets import PRESETS, Config
from .runs import CHECKPOINTS, read_config

FREE_TO_CHANGE = {"run", "resume", "quiet", "keep", "log_every", "eval_every", "eval_episodes", "eval_video",
                  "checkpoint_every", "steps", "device", "threads"}  # fmt: skip
"""Settings a resumed run may change; any other would make it another run."""


def resolve(config: Config) -> Config:
    """``config`` with every "auto" decided and every value checked. UserError names what is wrong."""
    if not config.env:
        raise UserError("No environment given: add --env family:name, such as --env labyrinth:seekavoid_arena_01.")
    for name in ("steps", "num_envs", "unroll", "log_every", "keep", "memory_size", "eval_episodes"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(config, name)}.")
    for name in ("eval_every", "checkpoint_every"):
        if getattr(config, name) < 0:
            raise UserError(f"--{name.replace('_', '-')} must be 0 (never) or more, not {getattr(config, name)}.")
    if config.resume and config.run is None:
        raise UserError("--resume needs the folder to go on in: add --run FOLDER.")
    device = resolve_device(config.device)
    cores = os.cpu_count() or 1
    if config.threads is not None and not 1 <= config.threads <= cores:
        raise UserError(f"--threads must be between 1 and this machine's {cores} cores, not {config.threads}.")
    dtype = config.dtype
    if dtype == "auto":
        dtype = "bfloat16" if multiplies_bfloat16(device) else "float32"
    return dataclasses.replace(config, device=str(device), dtype=dtype, threads=config.threads or cores)


def resolve_device(name: str) -> torch.device:
    """"auto", "cpu", "cuda" or "cuda:1" to a device that is there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"Unknown device '{name}': {suggest(name, ['cpu', 'cuda', 'cuda:0', 'auto'])}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"Device '{name}' is not here: this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def preset_named(name: str) -> Config:
    """The defaults of a preset."""
    if name not in PRESETS:
        raise UserError(f"Unknown preset '{name}': {suggest(name, PRESETS)}")
    return PRESETS[name]


def saved_config(words: Sequence[str]) -> tuple[str, Config] | None:
    """Preset and settings of the run that ``--resume --run FOLDER`` in a command line names, if it has begun."""
    if "--resume" not in words or "--run" not in words[:-1]:
        return None
    folder = Path(words[words.index("--run") + 1])
    if not checkpoint.exists(folder / CHECKPOINTS):
        return None
    return read_settings(folder)


def read_settings(folder: Path) -> tuple[str, Config]:
    """Preset and Config a run was begun with."""
    saved, _ = read_config(folder)
    known = {f.name for f in dataclasses.fields(Config)}
    values = {k: v for k, v in saved.items() if k in known}
    values["learner"] = LearnerConfig(**saved["learner"])
    if values.get("frame_size") is not None:
        values["frame_size"] = tuple(values["frame_size"])
    return saved["preset"], Config(**values)


def with_overrides(config: Config, overrides: Mapping[str, Any]) -> Config:
    """``config`` with fields of its own or of its learner replaced by name."""
    learner = {f.name for f in dataclasses.fields(config.learner)}
    own = {f.name for f in dataclasses.fields(config)} - {"learner"}
    unknown = [k for k in overrides if k not in own | learner]
    if unknown:
        raise UserError(f"Unknown setting '{unknown[0]}': {suggest(unknown[0], sorted(own | learner))}")
    changed = dataclasses.replace(config.learner, **{k: v for k, v in overrides.items() if k in learner})
    return dataclasses.replace(config, learner=changed, **{k: v for k, v in overrides.items() if k in own})
