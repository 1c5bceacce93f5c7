"""Frames recorded from Labyrinth: images from a world whose factors are known, for density models and encoders."""

from __future__ import annotations

import torch
from torch import Tensor

from ...envs import make


def record(level: str, count: int, size: int, *, seed: int = 0, num_envs: int = 16, every: int = 8) -> Tensor:
    """[count, size, size, 3] uint8 of ``labyrinth:level``: what random play sees, a frame in ``every`` steps of each
    environment, an action held so long.
    """
    env = make(f"labyrinth:{level}", num_envs, seed=seed, frame_size=(size, size))
    generator = torch.Generator().manual_seed(seed)
    frames: list[Tensor] = []
    env.reset()
    while len(frames) * num_envs < count:
        action = torch.randint(env.spec.num_actions, (num_envs,), generator=generator)
        for _ in range(every):
            now = env.step(action)
        frames.append(now.observation["image"].clone())
    return torch.cat(frames)[:count]


def levels_of(frames: Tensor, levels: int) -> Tensor:
    """uint8 in 0 to 255 -> int64 in 0 to ``levels - 1``, in equal steps."""
    return frames.long() * levels // 256
