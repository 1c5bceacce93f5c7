"""Settings from what a person wrote to values that are decided and checked."""

from __future__ import annotations

import dataclasses
import math

from ...auxiliaries import AUXILIARY_LOSSES
from ...envs.errors import UserError
from ...envs.processes import forked
from ...envs.processes.workers import cores
from .config import Config
from .devices import multiplies_bfloat16, resolve_device
from .overrides import known_loss
from .presets import PRESETS
from .validation import flag_of, validated

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
    config = validated(config)
    aux = {}
    for name, loss in config.aux.items():
        kind = known_loss(name).Config
        if not isinstance(loss, kind):
            raise UserError(f"The loss '{name}' takes a number, its weight, or a {kind.__name__}, not {loss!r}.")
        aux[name] = loss = validated(loss, f"aux.{name}.")
        if not loss.weight:
            known = [kind(), *(p.config.aux[name] for p in PRESETS.values() if name in p.config.aux)]
            if all(loss != dataclasses.replace(k, weight=loss.weight) for k in known):
                flag = flag_of(f"aux.{name}.weight")
                raise UserError(f"The loss '{name}' is given settings at weight 0, where it is off: add {flag} 1.")
    learner, replay = validated(config.learner), validated(config.replay, "replay.")
    config = dataclasses.replace(config, learner=learner, replay=replay, aux=aux)
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


def least_bytes(config: Config) -> int:
    """Of one rollout, a replay and the two layers that grow fastest, in the largest torso and in an LSTM."""
    pixels = math.prod(config.frame_size or (84, 84))
    memory = 0 if config.memory == "none" else config.memory_size
    rows = (config.unroll + 1) * config.num_envs
    if any(AUXILIARY_LOSSES[name].data != "rollout" for name, loss in config.aux.items() if loss.weight):
        rows += config.replay.capacity
    return rows * (3 * pixels * (config.frame_stack or 1) + 4 * memory) + 2048 * pixels + 16 * memory**2
