"""Scripted behaviour in nine rooms: each walk is made twice, before a television and without new noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...envs.labyrinth.making import make_levels
from ...envs.wrappers.noisy_tv import REMOTE

HALF, UNROLL, SIDE = 8, 16, 42
"""Walks made twice, steps of a rollout, pixels a side."""
STILL, TURN = 0.25, 0.25
"""Probabilities per step of standing still, and of drawing anew which way to go on."""
WAYS = ("forward", "forward", "turn_left", "turn_right")
"""Ways to go on, of equal probability."""
TELEVISIONS = {"fresh": ("nine_rooms_tv", "nine_rooms"), "remote": ("nine_rooms_remote", "nine_rooms_remote")}
"""Levels of the two halves. In ``fresh`` the first half sees a television that shows new noise at each step, and the
second sees none. In ``remote`` both see one; the first half changes its picture whenever it stands still, and the
second never does."""


class Walk(NamedTuple):
    """A rollout of T steps of B environments, of which b and b + B / 2 make the same walk. Masks leave out steps that
    cross a reset.
    """

    image: Tensor  # [T + 1, B, H, W, 3] uint8
    action: Tensor  # [T, B] int64
    first: Tensor  # [T + 1, B] bool
    cell: Tensor  # [T + 1, B] int64, for rewards that are told where the agent is
    watching: Tensor  # [T, B] bool: the first half; with the remote, where it is used
    resting: Tensor  # [T, B] bool: the second half, standing still
    elsewhere: Tensor  # [T, B] bool: the second half; with the remote, where it moves on


class Rooms:
    """Environments of both halves. All stand still at times and otherwise walk about at random. Which way depends on
    ``seed`` only, so that the walks are the same with each ``television``.
    """

    def __init__(self, television: str, seed: int) -> None:
        options: dict[str, Any] = {"seed": seed, "frame_size": (SIDE, SIDE)}
        self.envs = [make_levels([level], HALF, **options) for level in TELEVISIONS[television]]
        self.spec = self.envs[0].spec
        names = self.spec.action_names
        self.noop, self.ways = names.index("noop"), torch.tensor([names.index(way) for way in WAYS])
        self.remote = REMOTE in names
        self.switch = names.index(REMOTE) if self.remote else self.noop
        self.viewer = torch.arange(2 * HALF) < HALF
        self.generator = torch.Generator().manual_seed(seed)
        self.way = self.ways[:1].repeat(HALF)
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
        watching, elsewhere = (still, ~still) if self.remote else (True, True)
        return Walk(
            _stacked([[now.observation["image"] for now in row] for row in rows]),
            torch.stack(actions),
            first,
            _stacked([[now.info["cell"] for now in row] for row in rows]),
            valid & self.viewer & watching,
            valid & ~self.viewer & still,
            valid & ~self.viewer & elsewhere,
        )

    def _decide(self) -> tuple[Tensor, Tensor]:
        """Return who stands still, and the actions [B]."""
        u = torch.rand(3, HALF, generator=self.generator)
        drawn = self.ways[(u[0] * len(self.ways)).long()]
        self.way = torch.where(u[1] < TURN, drawn, self.way)
        still = (u[2] < STILL).repeat(2)
        stay = torch.where(self.viewer, self.switch, self.noop)
        return still, torch.where(still, stay, self.way.repeat(2))

    def close(self) -> None:
        """End the environments' threads."""
        for env in self.envs:
            env.close()


def _stacked(rows: list[list[Tensor]]) -> Tensor:
    """Join the halves of each row [B, ...], and rows along time."""
    return torch.stack([torch.cat(row) for row in rows])
