"""MiniGrid's gridworlds (Chevalier-Boisvert et al. 2023) as EnvPool simulates them: an egocentric 7x7 view in codes."""

from __future__ import annotations

from .envpool import Task, known, tasks

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
SIDE = 25
"""Of the largest grid."""
MULTIROOM = {"MultiRoom-N7-S4": (7, 4), "MultiRoom-N7-S8": (7, 8), "MultiRoom-N10-S4": (10, 4),
             "MultiRoom-N10-S10": (10, 10), "MultiRoom-N12-S10": (12, 10)}  # fmt: skip
"""Number of rooms and largest room, walls included: the tasks of RIDE (Raileanu and Rocktaschel 2020) and those
after it, which no package registers.
"""


def names() -> dict[str, str]:
    """Ours -> EnvPool's: without the prefix, and without the version where it is the first."""
    ids = [i for i in tasks("minigrid") if i.startswith("MiniGrid-")]
    return {i.removeprefix("MiniGrid-").removesuffix("-v0"): i for i in ids}


def task(name: str) -> Task:
    """The task ``minigrid:name``. An episode pays 1 - 0.9 steps / max_steps at its goal. UserError for unknown names.

    "image" [7, 7, 3] holds an object, a colour and a state a cell as small numbers, "vector" the agent's direction. The
    mission is text and left out: GoToDoor, Fetch and others whose mission changes cannot be solved without it.
    """
    ids = names()
    settings = {}
    if name in MULTIROOM:
        rooms, size = MULTIROOM[name]
        settings = {"min_num_rooms": rooms, "max_num_rooms": rooms, "max_room_size": size}
        settings["max_episode_steps"] = 20 * rooms
    chosen = ids["MultiRoom-N6"] if settings else ids[known(name, [*ids, *MULTIROOM], "minigrid")]
    return Task(chosen, name, settings, ACTIONS, frames_per_step=1, variables=("agent_pos",), side=SIDE)
