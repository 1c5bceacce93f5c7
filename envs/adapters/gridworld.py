"""MiniGrid's gridworlds (Chevalier-Boisvert et al. 2023) through EnvPool: an egocentric 7x7 view in codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..goals import has_goal
from .envpool import Info, Task, known, package, tasks

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
SIDE = 25
"""Side of the largest grid, in cells."""
ROOMS_AND_SIZE = ((7, 4), (7, 8), (10, 4), (10, 10), (12, 10))
"""N and S of the tasks ``MultiRoom-N7-S4`` and so on, which no package registers: exactly N rooms, each 4 to S cells
wide and high, including walls (RIDE, Raileanu and Rocktaeschel 2020, and subsequent work)."""
ROOMS = tuple(f"N{rooms}-S{size}" for rooms, size in ROOMS_AND_SIZE)
MULTI_ROOMS = (
    *(f"MultiRoom-{rooms}" for rooms in ("N2-S4", "N4-S5", "N6", *ROOMS)),
    *(f"MultiRoomNoisyTV-{rooms}" for rooms in ROOMS),
)
"""Tasks that MiniGrid itself simulates. In EnvPool's MultiRooms a door may lead into a wall: the goal could be reached
in 27, 7, 15 and 1 of 40 levels of N2-S4, N4-S5 (of six rooms there), N6 and N7-S4 (version 1.2.5)."""


class GoalReward:
    """Pays ``1 - 0.9 steps / max_steps`` at the goal; EnvPool's own ``max_steps`` is set out of reach."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps

    def __call__(
        self, reward: NDArray[Any], terminated: NDArray[Any], first: NDArray[Any], info: Info
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return [B] reward, [B] bool discount."""
        won = reward > 0
        if won.any():
            reward = np.where(won, 1 - 0.9 * (info["elapsed"] / self.max_steps), reward)
        return reward, ~terminated

    def begin(self, chosen: NDArray[Any], info: Info) -> None:
        """Begin new episodes where ``chosen``; there is no state to reset."""


MAY_FAIL = ("DistShift", "Fetch", "GoTo", "Lava", "Memory", "PutNear", "RedBlueDoors")
"""Prefixes of tasks that can terminate without reward: in lava, with the wrong object, at the wrong place."""


def known_tasks() -> dict[str, str]:
    """Map our task names to EnvPool's. Ours omit the prefix, and the version where it is the first."""
    ids = [i for i in tasks("minigrid") if i.startswith("MiniGrid-")]
    names = {i.removeprefix("MiniGrid-").removesuffix("-v0"): i for i in ids}
    return {name: i for name, i in names.items() if not name.startswith("MultiRoom")}


def task(name: str) -> Task:
    """Return EnvPool's task ``minigrid:name``, which pays 1 - 0.9 steps / max_steps at its goal. UserError for unknown
    names.

    "image" [7, 7, 3] holds object, colour and state of each cell as small numbers, "vector" the agent's direction. The
    mission is text and omitted: GoToDoor, Fetch and others whose mission changes cannot be solved without it.
    """
    names = known_tasks()
    theirs = names[known(name, [*names, *MULTI_ROOMS], "minigrid")]
    made = Task(
        theirs,
        name,
        {},
        ACTIONS,
        frames_per_step=1,
        variables=("agent_pos",),
        side=SIDE,
        goal=has_goal(theirs),
    )
    if not name.startswith(MAY_FAIL):
        return made
    limit = int(package().make_spec(theirs).config.max_episode_steps)
    return made._replace(limit=limit, rewards=lambda num_envs: GoalReward(limit))
