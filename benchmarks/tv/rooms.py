"""Scripted behaviour in nine rooms: in one half of the environments before a television, in the other away from it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...envs.labyrinth.making import make_levels
from ...envs.wrappers.noisy_tv import REMOTE

HALF, UNROLL, SIDE = 8, 16, 42
"""Environments of each half, steps of a rollout, pixels a side."""
STILL, TURN = 0.25, 0.25
"""Probabilities per step of standing still, and of drawing anew which way to go on."""
WAYS = ("forward", "forward", "turn_left", "turn_right")
"""Ways to go on, of equal probability."""
TELEVISIONS = {"fresh": ("nine_rooms_tv", "nine_rooms"), "remote": ("nine_rooms_remote", "nine_rooms_remote")}
"""Levels of the two halves. In ``fresh`` the first half sees a television that shows new noise at each step, and the
second sees none. In ``remote`` both see one, whose picture the first half changes whenever it stands still, and the
second never does."""


class Walk(NamedTuple):
    """A rollout of T steps of B environments. Masks leave out steps that cross a reset."""

    image: Tensor  # [T + 1, B, H, W, 3] uint8
    action: Tensor  # [T, B] int64
    first: Tensor  # [T + 1, B] bool
    cell: Tensor  # [T + 1, B] int64, for rewards that are told where the agent is
    watching: Tensor  # [T, B] bool: the first half stands still before new noise
    resting: Tensor  # [T, B] bool: the second half stands still, the control
    elsewhere: Tensor  # [T, B] bool: the second half moves on


class Rooms:
    """Environments of both halves. Everyone stands still at times and otherwise walks about at random; who does what
    depends on ``seed`` only, so that positions are the same with each ``television``.
    """

    def __init__(self, television: str, seed: int) -> None:
        halves = enumerate(TELEVISIONS[television])
        self.envs = [
            make_levels([level], HALF, seed=seed, env_offset=i * HALF, frame_size=(SIDE, SIDE)) for i, level in halves
        ]
        self.spec = self.envs[0].spec
        names = self.spec.action_names
        self.noop, self.ways = names.index("noop"), torch.tensor([names.index(way) for way in WAYS])
        self.switch = names.index(REMOTE) if REMOTE in names else self.noop
        self.viewer = torch.arange(2 * HALF) < HALF
        self.generator = torch.Generator().manual_seed(seed)
        self.way = self.ways[:1].repeat(2 * HALF)
        self.now = [env.reset() for env in self.envs]
        for env in self.envs:
            env.stagger()

    def collect(self) -> Walk:
        """Make the next rollout; its first row is the last one of the rollout before."""
        rows, actions, stood = [self.now], [], []
        for _ in range(UNROLL):
            still, action = self._decide()
            parts = zip(self.envs, action.chunk(2), strict=True)
            self.now = [env.step(its) for env, its in parts]
            rows.append(self.now)
            actions.append(action)
            stood.append(still)
        first = _stacked([[now.first for now in row] for row in rows])
        still, valid = torch.stack(stood), ~first[1:]
        return Walk(
            _stacked([[now.observation["image"] for now in row] for row in rows]),
            torch.stack(actions),
            first,
            _stacked([[now.info["cell"] for now in row] for row in rows]),
            still & self.viewer & valid,
            still & ~self.viewer & valid,
            ~still & ~self.viewer & valid,
        )

    def _decide(self) -> tuple[Tensor, Tensor]:
        """Return who stands still, and the actions [B]."""
        u = torch.rand(3, 2 * HALF, generator=self.generator)
        drawn = self.ways[(u[0] * len(self.ways)).long()]
        self.way = torch.where(u[1] < TURN, drawn, self.way)
        still = u[2] < STILL
        stay = torch.where(self.viewer, self.switch, self.noop)
        return still, torch.where(still, stay, self.way)

    def close(self) -> None:
        """End the environments' threads."""
        for env in self.envs:
            env.close()


def _stacked(rows: list[list[Tensor]]) -> Tensor:
    """Join the halves of each row [B, ...], and rows along time."""
    return torch.stack([torch.cat(row) for row in rows])
