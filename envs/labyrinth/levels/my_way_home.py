"""my_way_home_dense, _sparse and _very_sparse: eight rooms, one vest (Pathak et al. 2017, on ViZDoom's MyWayHome).

With ``_noise``, white noise takes the place of 40 % of the image, as in section 4.1 of the paper.

The geometry is that of ViZDoom's map, in its own coordinates: rooms of 160 x 160 with a wall texture each, joined by
brick openings and corridors of width 64. Motion is Doom's, 35 tics per second; 2100 tics make an episode.
"""

from __future__ import annotations

from dataclasses import replace

from ..level import DOOM, Action, Blocks, Level, Television

CELL = 16
WEST, SOUTH, EAST, NORTH = 160, -704, 1120, 128

ROOMS = {
    "a": (160, 320, -256, -96),
    "b": (384, 544, -256, -96),
    "c": (384, 544, -32, 128),
    "d": (608, 768, -256, -96),
    "e": (608, 768, -32, 128),
    "f": (384, 544, -544, -384),
    "g": (960, 1120, -32, 128),
    "h": (960, 1120, -256, -96),
}
"""West, east, south and north side of each room."""

CORRIDORS = (
    (320, 384, -208, -144),
    (544, 608, -208, -144),
    (432, 496, -96, -32),
    (656, 720, -96, -32),
    (544, 608, 16, 80),
    (768, 960, 16, 80),
    (1008, 1072, -96, -32),
    (992, 1088, -416, -256),
    (432, 496, -384, -256),
    (432, 496, -704, -544),
    (432, 576, -704, -640),
)
"""A-B, B-D, B-C, D-E, C-E, E-G, G-H, the vest's alcove, B-F, and the two arms of the L-shaped southern corridor."""

VEST = (1040, -352)
SPARSE_START = (240, -176, 0.0)
VERY_SPARSE_START = (544, -672, 180.0)
DENSE_STARTS = (
    (240, -176),
    (464, -176),
    (464, 48),
    (688, -176),
    (688, 48),
    (464, -464),
    (1040, 48),
    (1040, -176),
    (352, -176),
    (464, -64),
    (576, -176),
    (688, -64),
    (576, 48),
    (864, 48),
    (464, -320),
    (464, -608),
    (544, -672),
)

TEXTURES = {
    "a": "stone_grey",
    "b": "wood",
    "c": "tiles_teal",
    "d": "panel_orange",
    "e": "stripes_blue",
    "f": "tiles_purple",
    "g": "hedge",
    "h": "stone_sand",
}
ACTIONS: dict[str, Action] = {
    "noop": (0, 0, 0),
    "forward": (1, 0, 0),
    "turn_left": (0, 0, 3.5),
    "turn_right": (0, 0, -3.5),
}
NOISE = Television(fraction=0.4)


def paint() -> str:
    """Return the block map: a room's letter, ``.`` in corridors, ``#`` for rock."""
    grid = [["#"] * ((EAST - WEST) // CELL) for _ in range((NORTH - SOUTH) // CELL)]
    for letter, (west, east, south, north) in [*ROOMS.items(), *((".", c) for c in CORRIDORS)]:
        for i in range((south - SOUTH) // CELL, (north - SOUTH) // CELL):
            for j in range((west - WEST) // CELL, (east - WEST) // CELL):
                grid[i][j] = letter
    return "\n".join("".join(row) for row in reversed(grid))


def my_way_home(name: str, where: str, starts: tuple[tuple[float, float, float | None], ...]) -> Level:
    """Return the level MyWayHome from ``starts``."""
    return Level(
        name=f"my_way_home_{name}",
        summary=f"Eight rooms, one vest (+1, ends the episode); the agent starts {where}.",
        layout=Blocks(paint(), cell=CELL, textures=TEXTURES),
        seconds=60,
        physics=DOOM,
        actions=ACTIONS,
        items=(("vest", VEST[0] - WEST, VEST[1] - SOUTH),),
        starts=tuple((x - WEST, y - SOUTH, heading) for x, y, heading in starts),
        tick_reward=-0.0001,
        wall="brick_red",
        floor="floor_tiles",
        ceiling="ceiling_panels",
        wall_height=128,
        eye_height=41,
        visit_size=32,
    )


PLAIN = [
    my_way_home("dense", "at one of 17 places, with random heading", tuple((x, y, None) for x, y in DENSE_STARTS)),
    my_way_home("sparse", "in the westernmost room", (SPARSE_START,)),
    my_way_home("very_sparse", "at the far end of the southern corridor", (VERY_SPARSE_START,)),
]
LEVELS = [
    *PLAIN,
    *(
        replace(
            level, name=f"{level.name}_noise", summary=f"{level.summary} 40 % of the image is noise.", television=NOISE
        )
        for level in PLAIN
    ),
]
