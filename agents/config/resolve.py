"""Resolution of settings: every automatic choice is decided and every value checked."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ...auxiliaries import AUXILIARY_LOSSES
from ...envs import FAMILIES
from ...envs.errors import UserError
from ...envs.processes import forked
from ...envs.processes.workers import cores
from .config import Config
from .devices import multiplies_bfloat16, resolve_device
from .presets import PRESETS
from .registered import KINDS, known
from .validation import flag_of, validated

LARGEST = 2**40
"""Limit in bytes; a rollout and network that need more are taken for a typing error."""


def resolve(config: Config) -> Config:
    """Return ``config`` with every "auto" decided and every value checked. UserError, naming the setting, for an
    invalid value.
    """
    if not config.env:
        if config.resume and config.run:
            raise UserError(f"{config.run} holds no run to resume: name another --run, or begin one with --env.")
        raise UserError("No environment given: add --env family:name, such as --env labyrinth:seekavoid_arena_01.")
    run = None if config.run is None else str(config.run)  # in Python it may be a Path, and the device a torch.device
    config = dataclasses.replace(config, run=run, device=str(config.device))
    config = validated(config)
    auxiliaries: dict[str, Any] = {kind: _checked(config, kind) for kind in KINDS}
    learner, replay = validated(config.learner), validated(config.replay, "replay.")
    extrinsic = validated(config.extrinsic, "extrinsic.")
    config = dataclasses.replace(config, learner=learner, replay=replay, extrinsic=extrinsic, **auxiliaries)
    if run is not None and not run.strip():
        raise UserError("--run is empty: name a folder, or leave it out.")
    if config.resume and run is None:
        raise UserError("--resume needs the folder of the run: add --run FOLDER.")
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
    on: dict[str, Any] = {k: {name: own for name, own in v.items() if own.weight} for k, v in auxiliaries.items()}
    threads = config.threads or (_threads(config.env, most) if device.type == "cpu" else most)
    return dataclasses.replace(config, device=str(device), dtype=dtype, threads=threads, **on)


def _threads(env: str, most: int) -> int:
    """Return the number of threads that suits the environment's family on a CPU; ``most`` where there is none."""
    family = FAMILIES.get(env.partition(":")[0])
    return min(most, family.threads or most) if family else most


def _checked(config: Config, kind: str) -> dict[str, Any]:
    """Return the settings of all losses or rewards. UserError for an unknown one, or one that has settings but weight
    0.
    """
    word, found = KINDS[kind].word, {}
    for name, own in getattr(config, kind).items():
        made = known(kind, name).Config
        if not isinstance(own, made):
            raise UserError(f"The {word} '{name}' takes a number, its weight, or a {made.__name__}, not {own!r}.")
        found[name] = own = validated(own, f"{kind}.{name}.")
        if not own.weight:
            presets = (getattr(preset.config, kind) for preset in PRESETS.values())
            begun = [made(), *(settings[name] for settings in presets if name in settings)]
            if all(own != dataclasses.replace(k, weight=own.weight) for k in begun):
                flag = flag_of(f"{kind}.{name}.weight")
                raise UserError(f"The {word} '{name}' has settings but weight 0, which disables it: add {flag} 1.")
    return found


def least_bytes(config: Config) -> int:
    """Estimate the memory in bytes of one rollout, a replay and the two fastest-growing layers, with the largest torso
    and an LSTM.
    """
    pixels = math.prod(config.frame_size or (84, 84))
    memory = 0 if config.memory == "none" else config.memory_size
    rows = (config.unroll + 1) * config.num_envs
    if any(AUXILIARY_LOSSES[name].data != "rollout" for name, loss in config.aux.items() if loss.weight):
        rows += config.replay.capacity
    return rows * (3 * pixels * (config.frame_stack or 1) + 4 * memory) + 2048 * pixels + 16 * memory**2
