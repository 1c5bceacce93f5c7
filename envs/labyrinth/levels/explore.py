"""explore_goal_locations_small: a new maze every episode, with one goal to find repeatedly."""

from __future__ import annotations

from ..level import DrawnGoal, Level, MazeGenerator
from .nav_maze import POSTERS

LEVELS = [
    Level(
        name="explore_goal_locations_small",
        summary="A maze of 11 x 11 cells with up to 4 rooms, new each episode; its goal (+10) moves the agent.",
        layout=MazeGenerator(height=11, width=11, rooms=4),
        seconds=90,
        goal=DrawnGoal(),
        floor="floor_tiles",
        wall="plaster_cream",
        decals=POSTERS,
        decal_share=0.1,
    )
]
