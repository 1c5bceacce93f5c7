"""seekavoid_arena_01: collect the apples of a small arena and avoid the lemons."""

from __future__ import annotations

from ..level import Blocks, Level

APPLES = (
    (95, 95),
    (95, 215),
    (105, 340),
    (90, 470),
    (110, 570),
    (225, 150),
    (240, 400),
    (320, 500),
    (385, 175),
    (450, 450),
    (520, 330),
    (590, 545),
    (605, 165),
    (680, 265),
    (700, 480),
)
LEMONS = ((170, 290), (190, 490), (300, 290), (270, 120), (430, 330), (490, 225), (600, 420), (715, 370))

LEVELS = [
    Level(
        name="seekavoid_arena_01",
        summary="15 apples (+1) and 8 lemons (-1) in one walled arena of 800 x 650; once all are eaten, they return.",
        layout=Blocks("\n".join(["#" * 18, *["#" + " " * 16 + "#"] * 13, "#" * 18]), cell=50.0),
        seconds=20,
        items=(*(("apple", x + 50, y + 50) for x, y in APPLES), *(("lemon", x + 50, y + 50) for x, y in LEMONS)),
        starts=((450.0, 95.0, 90.0),),
        restart_when_cleared=True,
        wall="stone_sand",
        floor="floor_grass",
    )
]
