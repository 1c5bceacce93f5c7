"""multi_room_3d_N_S: chains of N rooms with turns, new each episode; MiniGrid's MultiRoom in three dimensions.

As in MiniGrid, S includes a room's walls: sides are 2 to S - 2 cells. Doors are openings, which need no action.
"""

from __future__ import annotations

from ..level import DrawnGoal, Level, RoomChain
from .rooms_chain import ACTIONS

CELL = 80
ROOM_WALLS = (
    "brick_grey",
    "stone_grey",
    "stone_mossy",
    "stone_sand",
    "panel_steel",
    "panel_orange",
    "wood",
    "tiles_white",
    "tiles_teal",
    "tiles_purple",
    "stripes_red",
    "stripes_blue",
    "hazard",
)
"""Consecutive textures, one of which each room draws; none as green as the vest."""
SIZES = {(2, 4): 9, (4, 5): 15, (6, 5): 19, (7, 4): 19}
"""Rooms and their size -> side of the map in cells."""
SECONDS = 3
"""Per opening, and once for the first room."""


def multi_room_3d(rooms: int, size: int, side: int) -> Level:
    """Return the chain of ``rooms`` of up to ``size`` x ``size`` cells, walls included, on a square map."""
    rooms_like_that = f"{rooms} rooms of up to {size - 2} x {size - 2} cells"
    return Level(
        name=f"multi_room_3d_{rooms}_{size}",
        summary=f"{rooms_like_that}, new each episode; a vest (+1, ends the episode) is in the last.",
        layout=RoomChain(height=side, width=side, rooms=rooms, room_max=size - 2, cell=CELL),
        seconds=SECONDS * rooms,
        actions=ACTIONS,
        goal=DrawnGoal("vest"),
        decals=ROOM_WALLS,
        wall="plaster_pink",
        floor="floor_wood",
        ceiling="ceiling_plaster",
    )


LEVELS = [multi_room_3d(rooms, size, side) for (rooms, size), side in SIZES.items()]
