"""Levels as agents play them: the worlds, and the television that some levels put before them."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import UserError
from ..wrappers.noisy_tv import NoisyTV
from .labyrinth import Labyrinth


def make_levels(
    levels: list[str],
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    seed: int = 0,
    *,
    env_offset: int = 0,
    **options: Any,
) -> Labyrinth | NoisyTV:
    """Make ``levels`` in one batch, with their `level.Television`; ``options`` are those of `Labyrinth`."""
    env = Labyrinth(levels, num_envs, device, seed, env_offset=env_offset, **options)
    television = env.levels[0].television
    for level in env.levels:
        if level.television != television:
            raise UserError(f"{levels[0]} and {level.name} have different televisions and cannot share a batch")
    if television is None:
        return env
    return NoisyTV(
        env,
        television.fraction,
        "action" if television.remote else "step",
        noop=env.levels[0].idle or 0,
        seed=seed,
        env_offset=env_offset,
    )
