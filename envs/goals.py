"""Third-party tasks that have a goal: an episode that terminates on a positive reward has reached it.

Success is undefined elsewhere: in CartPole, where every step pays and falling terminates, each failure would count as
a success.
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
"""Patterns of Gymnasium names that have a goal, and exceptions among them that have none."""


def has_goal(name: str) -> bool:
    """Return whether the Gymnasium environment ``name`` has a goal according to `GOALS`. A module before a colon is
    ignored.
    """
    name = name.rpartition(":")[2]
    return any(
        re.fullmatch(known, name) and not any(re.fullmatch(none, name) for none in but) for known, but in GOALS.items()
    )
