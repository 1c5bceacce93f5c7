"""recall_left and recall_right: a wall seen at the start says which arm of a T pays, around two corners from there.

Played mixed, ``labyrinth:recall_left+recall_right``, they ask for memory: the arms look the same, and in the eastern
corridor what tells them apart is out of sight. (A policy without memory could carry the cue in how it walks and faces;
those trained so far did not.)
"""

from __future__ import annotations

from ..level import Action, Blocks, Level

MAP = """
######
####.#
#....#
#.##.#
#c####
######
""".strip()
CUE = {"left": "stripes_blue", "right": "panel_orange"}
ARMS = {"left": (450, 450), "right": (450, 250)}
"""North and south of the fork, to which one comes facing east."""
ACTIONS: dict[str, Action] = {"forward": (1, 0, 0), "turn_left": (0, 0, 5.625), "turn_right": (0, 0, -5.625)}


def recall(side: str) -> Level:
    """The vest lies in the arm on this ``side``, a mirage of it in the other."""
    other = "right" if side == "left" else "left"
    return Level(
        name=f"recall_{side}",
        summary=f"A T whose {side} arm holds a vest (+1), the other a mirage (0); the colour of the start says which.",
        layout=Blocks(MAP, textures={"c": CUE[side]}),
        seconds=20,
        actions=ACTIONS,
        items=(("vest", *ARMS[side]), ("mirage", *ARMS[other])),
        starts=((150.0, 150.0, 180.0),),
        wall="brick_grey",
        floor="floor_stone",
    )


LEVELS = [recall("left"), recall("right")]
