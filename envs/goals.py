"""Which of other people's tasks have a goal: an episode that terminates on a positive reward has reached it.

Elsewhere nothing is called a success: in CartPole, where every step pays and falling terminates, each failure would
read as one.
"""

from __future__ import annotations

import re

GOALS: dict[str, tuple[str, ...]] = {
    r"MiniGrid-.+": (r"MiniGrid-Playground-v\d+",),
    r"BabyAI-.+": (),
    r"MiniWorld-.+": (r"MiniWorld-(CollectHealth|RoomObjects|ThreeRooms)-v\d+",),
    r"FrozenLake(8x8)?-v\d+": (),
    r"Taxi-v\d+": (),
    r"LunarLander-v\d+": (),
}
"""Gymnasium's names that have a goal, and those among them that have none."""


def has_goal(name: str) -> bool:
    """Whether the environment with this name in Gymnasium has a goal, as far as `GOALS` knows. The module before a
    colon does not matter.
    """
    name = name.rpartition(":")[2]
    return any(
        re.fullmatch(known, name) and not any(re.fullmatch(none, name) for none in but) for known, but in GOALS.items()
    )
