"""rooms_chain_2 to rooms_chain_12: rooms in a row, reward in the last only; a deep sea in three dimensions.

Osband et al., "Deep exploration via randomized value functions" (JMLR 2019), let the length of a chain set how rare
reward is for undirected exploration. Here openings alternate between the northern and the southern end of the walls, so
that no single heading leads through two of them, and the time limit, about three times what the oracle needs, is
proportional to their number. Random play succeeds in 10, 1.6, 0.3 and 0.03 % of 20,000 episodes with 2 to 5 rooms.
"""

from __future__ import annotations

from ..level import Action, Blocks, Level

CELL = 50
SIDE, OPENING = 4, 2
"""Of a room and of an opening, in cells. A wall is one cell thick."""
PITCH = (SIDE + 1) * CELL

TEXTURES = {
    "a": "brick_red",
    "b": "tiles_white",
    "c": "brick_yellow",
    "d": "stripes_blue",
    "e": "panel_orange",
    "f": "tiles_purple",
    "g": "hazard",
    "h": "stone_grey",
    "i": "tiles_teal",
    "j": "wood",
    "k": "stripes_red",
    "l": "plaster_cream",
}
"""The walls of each room, first to last; the same in chains of any length."""
ACTIONS: dict[str, Action] = {
    "noop": (0, 0, 0),
    "forward": (1, 0, 0),
    "turn_left": (0, 0, 3.75),
    "turn_right": (0, 0, -3.75),
}
SECONDS = 3
"""Per opening; the oracle takes 1."""
LENGTHS = range(2, 13)


def paint(rooms: int) -> str:
    """Return the block map: a room's letter, ``.`` in openings, ``#`` for rock. The first opening is in the north."""
    letters = list(TEXTURES)[:rooms]
    rows = []
    for i in range(SIDE):
        ways = ["." if (i < OPENING) == (n % 2 == 0) else "#" for n in range(rooms - 1)] + ["#"]
        rows.append("#" + "".join(letter * SIDE + way for letter, way in zip(letters, ways, strict=True)))
    edge = "#" * len(rows[0])
    return "\n".join([edge, *rows, edge])


def rooms_chain(rooms: int) -> Level:
    """Return the chain of so many ``rooms``; its vest is one cell behind the last opening."""
    north = rooms % 2 == 0  # where the last opening is
    across = SIDE - OPENING / 2 if north else OPENING / 2
    middle = CELL + SIDE * CELL / 2
    return Level(
        name=f"rooms_chain_{rooms}",
        summary=f"{rooms} rooms in a row; the agent starts in the first, a vest (+1, ends the episode) is in the last.",
        layout=Blocks(paint(rooms), cell=CELL, textures=TEXTURES),
        seconds=SECONDS * (rooms - 1),
        actions=ACTIONS,
        items=(("vest", CELL + (rooms - 1) * PITCH + CELL, CELL + across * CELL),),
        starts=((middle, middle, None),),
        wall="brick_grey",
        floor="floor_stone",
        ceiling="ceiling_plaster",
    )


LEVELS = [rooms_chain(rooms) for rooms in LENGTHS]
