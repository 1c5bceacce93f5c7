"""nav_maze_static_01 to 03 and nav_maze_random_goal_01 to 03: find the goal, and again, from ever new starts.

The maps were grown by a recursive backtracker, and some walls between cells far apart by path were taken out, so
that there are loops. ``G`` goal, ``A`` apple, ``.`` ground too near the goal to start on.
"""

from __future__ import annotations

from ..level import DrawnGoal, Level, ThinWalls

MAZE_1 = """
+-+-+-+-+-+-+-+-+-+-+
| |A        |    A  |
+ +-+ +-+-+ + +-+-+ +
|A|   |         |A  |
+ + +-+ +-+-+-+-+ + +
| |   |.          | |
+ +-+ + +-+-+-+ +-+ +
|     |. . G|   |A  |
+ +-+-+ + +-+ + + +-+
|      .|. .  |     |
+-+-+-+-+-+-+-+-+-+-+
"""
MAZE_2 = """
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| |                       |G .|
+ +-+ + +-+-+-+-+ +-+-+-+ +-+ +
|     | |   |     |A      |. .|
+-+-+ + + + + +-+-+ +-+-+ + + +
|  A  |   | |A   A      |  .|.|
+ + + +-+-+ +-+ + +-+-+ +-+-+ +
| |A|     |     |   |A    |  .|
+ + +-+-+-+-+ +-+-+ + +-+ + +-+
| |               | | |   |   |
+ +-+-+-+ +-+ +-+ + + +-+ +-+ +
|A  |     |   |   | |   |   | |
+ +-+ +-+ + +-+ +-+ +-+ +-+-+ +
|  A| | | |   |   |   |A      |
+ + + + + +-+ +-+ +-+ +-+ +-+-+
| |   |     | |A  |A  |  A    |
+ +-+-+-+ +-+ + +-+ +-+-+-+ + +
|                    A      | |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""
MAZE_3 = """
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|             |       |     |           |
+-+-+ + + +-+ + + +-+ + + + + +-+ +-+ +-+
|     | | |   | | |   |A| |   |   |     |
+ +-+-+-+ + +-+-+ + + + + +-+-+-+-+ +-+ +
| |A      |       |A|  A|         | |   |
+ + +-+ + +-+-+-+-+ +-+-+ +-+-+-+ + + + +
| |A| |A|       |      A|       |   | | |
+ + + + + +-+-+ + +-+-+ +-+ +-+ +-+-+ + +
| |   | |   | | |  A A| |A| |   |     | |
+ +-+ + +-+ + + +-+ + + + + + + + +-+-+ +
|     |   | |   |   | |A|   | | |     | |
+ +-+-+-+ + + +-+ +-+-+ + + + + +-+ + + +
|       | | |     |   |  A| | |   | | | |
+-+ +-+ + + + +-+-+ + +-+ +-+ +-+ +-+ + +
|     |   | |       |A    |  A|       | |
+ +-+ +-+-+ + + + +-+-+-+-+ +-+ +-+-+-+ +
|   |A A      | |           |       |   |
+-+ + +-+-+ + + +-+ +-+-+ +-+ + +-+-+ +-+
|   | |A A  | |   |     |     |A     A  |
+ +-+ + +-+-+-+-+ + +-+-+ +-+ + +-+-+-+ +
|A|  A|           |  . .| |. A|   |     |
+ + +-+-+-+-+-+ +-+ + + +-+ +-+-+ + + + +
| |             |  A| |. .|.|   | |A| | |
+ +-+-+-+ +-+-+ +-+-+ +-+ + + +-+ +-+ + +
|         |           |G . .|A        | |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

POSTERS = (
    "poster_red_disc", "poster_blue_cross", "poster_green_triangle", "poster_yellow_star", "poster_white_moon",
    "poster_pink_heart", "poster_orange_diamond", "poster_teal_ring", "poster_black_arrow", "poster_purple_square",
    "poster_white_saltire", "poster_blue_hourglass",
)  # fmt: skip
WALLS = {1: "brick_red", 2: "brick_grey", 3: "hedge"}
FLOORS = {1: "floor_wood", 2: "floor_wood", 3: "floor_sand"}
MAZES = ((1, MAZE_1, 60, "10 x 5", 5), (2, MAZE_2, 150, "15 x 9", 13), (3, MAZE_3, 300, "20 x 13", 26))


def static(number: int, text: str, seconds: float, size: str, apples: int) -> Level:
    """A maze where goal and apples never move."""
    return Level(
        name=f"nav_maze_static_{number:02}",
        summary=f"A fixed {size} maze, {apples} apples (+1); a goal (+10) that sends you elsewhere; apples return.",
        layout=ThinWalls(text),
        seconds=seconds,
        start_marks=" A",
        wall=WALLS[number],
        floor=FLOORS[number],
        decals=POSTERS,
        decal_share=0.2,
    )


def random_goal(number: int, text: str, seconds: float, size: str) -> Level:
    """The same walls; the goal's cell and the apples are drawn each episode."""
    return Level(
        name=f"nav_maze_random_goal_{number:02}",
        summary=f"A fixed {size} maze; goal (+10) and apples (+1) elsewhere each episode; found, it sends you away.",
        layout=ThinWalls(text.translate(str.maketrans("AG.", "   "))),
        seconds=seconds,
        goal=DrawnGoal(apple_share=0.1),
        start_distance=4,
        wall=WALLS[number],
        floor=FLOORS[number],
        decals=POSTERS,
        decal_share=0.2,
    )


LEVELS = [*(static(*maze) for maze in MAZES), *(random_goal(*maze[:4]) for maze in MAZES)]
