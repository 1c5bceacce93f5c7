"""recall_left and recall_right: the walls around a portal say which arm of a T pays, and the T is behind the portal.

Played mixed, ``labyrinth:recall_left+recall_right``, they ask for memory: whatever came before, an agent leaves the
portal at one place, at rest, facing one way, and nothing that it sees from there on tells the levels apart. What it
still knows it has carried: in its memory or, for one step, as its previous action.
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
"""North and south of the fork, to which one comes facing east."""
ACTIONS: dict[str, Action] = {"forward": (1, 0, 0), "turn_left": (0, 0, 5.625), "turn_right": (0, 0, -5.625)}


def recall(side: str) -> Level:
    """The vest lies in the arm on this ``side``, a mirage of it in the other."""
    other = "right" if side == "left" else "left"
    return Level(
        name=f"recall_{side}",
        summary=f"A T whose {side} arm holds a vest (+1), the other a mirage (0); walls before a portal said which.",
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
