"""MiniGrid tasks from the exploration literature that no package registers: long corridors of rooms, and a noisy TV."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.world_object import Ball
from minigrid.envs import MultiRoomEnv

from ..cell_map import CellMap
from ..experience import Timestep
from ..processes.restart_log import Faults
from .gridworld import ACTIONS, ROOMS_AND_SIZE, SIDE
from .gymnasium import Gymnasium


class MultiRoomNoisyTV(MultiRoomEnv):  # type: ignore[misc]
    """MultiRoom with a ball in the first room that changes its colour whenever the agent takes the action ``drop``.

    "RIDE: Rewarding Impact-Driven Exploration for Procedurally-Generated Environments", Raileanu and Rocktaeschel
    2020, and their environment. As in theirs, the action ``drop`` draws a new colour of the ball, uniformly from
    MiniGrid's six (so it may stay the same), wherever the agent is; nothing can be put down; the ball can be picked up,
    since it may block the door, and is then observed as the carried object. They have N7-S4 only. Different here: the
    ball is placed last, so that the first episode of a seed has the same rooms as without the ball; and other sizes.
    """

    def _gen_grid(self, width: int, height: int) -> None:
        super()._gen_grid(width, height)
        self.noisy_tv = Ball(self._rand_elem(COLOR_NAMES))
        self.place_obj(self.noisy_tv, self.rooms[0].top, self.rooms[0].size)

    def step(self, action: Any) -> Any:
        """Step as Gymnasium does, but ``drop`` draws a colour and puts nothing down."""
        if action == self.actions.drop:
            self.noisy_tv.color = self._rand_elem(COLOR_NAMES)
            action = self.actions.done  # has no effect
        return super().step(action)


VERSIONS = {"MultiRoom-N4-S5": "v1"}
"""Versions other than v0, which has six rooms here."""


class Rooms(Gymnasium):
    """B environments ``MultiRoom-...`` or ``MultiRoomNoisyTV-...`` with the family's action names and the agent's
    position.
    """

    def __init__(self, name: str, num_envs: int, device: torch.device, seed: int, **options: Any) -> None:
        super().__init__(f"MiniGrid-{name}-{VERSIONS.get(name, 'v0')}", num_envs, device, seed, **options)
        self.spec = self.spec._replace(tasks=(name,), action_names=ACTIONS)
        self.num_cells = SIDE * SIDE

    def cell_map(self, task: int = 0) -> CellMap:
        """Return the grid, without walls."""
        return CellMap(SIDE, SIDE)

    def adopt(self, rows: Timestep, faults: Faults, started: bool) -> Timestep:
        """Store answers and faults as `Gymnasium` does, with the agent's position in ``info``."""
        places = {"position": torch.zeros(self.num_envs, 2), "cell": torch.zeros(self.num_envs, dtype=torch.int64)}
        return super().adopt(rows._replace(info=places), faults, started)

    def _see(self, i: int, observation: Any) -> None:
        super()._see(i, observation)
        world: Any = self._envs[i].unwrapped
        x, y = world.agent_pos
        self._rows["position"][i], self._rows["cell"][i] = (x, y), x + SIDE * y


def register() -> None:
    """Register ``MiniGrid-MultiRoom-N7-S4-v0``, ``MiniGrid-MultiRoomNoisyTV-N7-S4-v0`` and the other sizes with
    Gymnasium. Existing registrations are kept.
    """
    for rooms, size in ROOMS_AND_SIZE:
        arguments = {"minNumRooms": rooms, "maxNumRooms": rooms, "maxRoomSize": size}
        for task, entry in (
            ("MultiRoom", "minigrid.envs:MultiRoomEnv"),
            ("MultiRoomNoisyTV", f"{__name__}:MultiRoomNoisyTV"),
        ):
            name = f"MiniGrid-{task}-N{rooms}-S{size}-v0"
            if name not in gymnasium.registry:
                # MultiRoomEnv's own limit, repeated here so that it can be read.
                gymnasium.register(name, entry, max_episode_steps=20 * rooms, kwargs=arguments)
