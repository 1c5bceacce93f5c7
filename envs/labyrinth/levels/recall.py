"""recall_left and recall_right: the walls around a portal show which arm of a T-maze, reached by the portal, pays.

Played mixed, ``labyrinth:recall_left+recall_right``, they require memory: an agent always leaves the portal at the same
position, at rest, with the same heading, and nothing visible from there on distinguishes the levels. The information
can only be carried in the agent's memory or, for one step, in its previous action.
"""

from __future__ import annotations

from ..level import Action, Blocks, Level

MAP = """
########
######.#
#cc#...#
######.#
########
""".strip()
CUE = {"left": "stripes_blue", "right": "panel_orange"}
ARMS = {"left": (650, 350), "right": (650, 150)}
"""North and south of the junction, which the agent approaches facing east."""
ACTIONS: dict[str, Action] = {"forward": (1, 0, 0), "turn_left": (0, 0, 5.625), "turn_right": (0, 0, -5.625)}


def recall(side: str) -> Level:
    """Return the level with the vest in the arm on this ``side`` and a mirage of it in the other."""
    other = "right" if side == "left" else "left"
    return Level(
        name=f"recall_{side}",
        summary=f"A T whose {side} arm holds a vest (+1), the other a mirage (0); walls before a portal show which.",
        layout=Blocks(MAP, textures={"c": CUE[side]}),
        seconds=20,
        actions=ACTIONS,
        items=(("vest", *ARMS[side]), ("mirage", *ARMS[other]), ("portal", 150, 250)),
        starts=((270.0, 250.0, 180.0),),
        exit=(450.0, 250.0, 0.0),
        wall="brick_grey",
        floor="floor_stone",
    )


LEVELS = [recall("left"), recall("right")]
