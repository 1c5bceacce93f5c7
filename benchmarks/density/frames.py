"""Recording of frames from Labyrinth, for density models and encoders."""

from __future__ import annotations

import torch
from torch import Tensor

from ...envs import make


def record(level: str, count: int, size: int, *, seed: int = 0, num_envs: int = 16, every: int = 8) -> Tensor:
    """Record frames [count, size, size, 3] uint8 of random play in ``labyrinth:level``.

    Each environment gives one frame every ``every`` steps, during which its action is repeated.
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
    """Map uint8 in 0 to 255 to int64 in 0 to ``levels - 1``, in equal steps."""
    return frames.long() * levels // 256
