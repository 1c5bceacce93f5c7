"""Levels played by hand: agents are put somewhere, and wait."""

from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray

import morello
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.wrappers import unwrapped

NOTHING = 8  # firing


def labyrinth(name: str, num_envs: int = 1, seed: int = 0) -> Labyrinth:
    """The worlds of a level, without its television."""
    env = unwrapped(morello.make(f"labyrinth:{name}", num_envs, seed=seed, frame_size=(1, 1)))
    assert isinstance(env, Labyrinth)
    env.reset()
    return env


def put(env: Labyrinth, position: torch.Tensor) -> None:
    env.world.position[:] = position
    env.world.velocity.zero_()


def wait(env: Labyrinth, action: int = NOTHING):
    return env.step(torch.full((env.num_envs,), action))


def distances(walls: NDArray[np.uint8], start: tuple[int, int]) -> NDArray[np.int64]:
    """Path lengths in cells, by flood fill; -1 unreachable."""
    height, width = walls.shape[1] - 1, walls.shape[2] - 1
    far = np.full((height, width), -1)
    far[start] = 0
    queue = deque([start])
    while queue:
        i, j = queue.popleft()
        ways = [(i, j - 1, walls[0, i, j]), (i, j + 1, walls[0, i, j + 1])]
        ways += [(i - 1, j, walls[1, i, j]), (i + 1, j, walls[1, i + 1, j])]
        for a, b, wall in ways:
            if not wall and far[a, b] < 0:
                far[a, b] = far[i, j] + 1
                queue.append((a, b))
    return far


def cells(position: torch.Tensor, size: float = 100) -> list[tuple[int, int]]:
    return [(int(y // size), int(x // size)) for x, y in position.tolist()]
