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


def known_tasks() -> dict[str, tuple[str, dict[str, int]]]:
    """Map our task names to EnvPool's and its settings. Ours omit the prefix, and the version where it is the first."""
    ids = [i for i in tasks("minigrid") if i.startswith("MiniGrid-")]
    names = {i.removeprefix("MiniGrid-").removesuffix("-v0"): (i, dict[str, int]()) for i in ids}
    for rooms, size in ROOMS_AND_SIZE:
        settings = {"min_num_rooms": rooms, "max_num_rooms": rooms, "max_room_size": size}
        settings["max_episode_steps"] = 20 * rooms
        names[f"MultiRoom-N{rooms}-S{size}"] = "MiniGrid-MultiRoom-N6-v0", settings
    return names


def task(name: str) -> Task:
    """Return the task ``minigrid:name``, which pays 1 - 0.9 steps / max_steps at its goal. UserError for unknown names.

    "image" [7, 7, 3] holds object, colour and state of each cell as small numbers, "vector" the agent's direction. The
    mission is text and omitted: GoToDoor, Fetch and others whose mission changes cannot be solved without it.
    """
    names = known_tasks()
    theirs, settings = names[known(name, names, "minigrid")]
    made = Task(
        theirs,
        name,
        dict(settings),
        ACTIONS,
        frames_per_step=1,
        variables=("agent_pos",),
        side=SIDE,
        goal=has_goal(theirs),
    )
    if not name.startswith(MAY_FAIL):
        return made
    limit = int(package().make_spec(theirs, **settings).config.max_episode_steps)
    return made._replace(limit=limit, rewards=lambda num_envs: GoalReward(limit))
