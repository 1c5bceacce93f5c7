"""Levels as data: a map, its items, and the rules. Pure Python, so that listing levels imports no large packages.

Maps are text with north at the top. A *block map* has one character per cell, and ``#`` fills a whole cell. A
*thin-wall map* of H x W cells has (2H + 1) x (2W + 1) characters: cells at odd rows and columns, and between them
``-``, ``|`` or a space for the wall or the gap. In a cell, a letter of `MARKS` is an item; any other character is
open ground, and a level defines on which characters agents start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import UserError

MARKS = {
    "A": "apple",
    "L": "lemon",
    "S": "strawberry",
    "F": "fungi",
    "G": "goal",
    "W": "watermelon",
    "M": "mango",
    "V": "vest",
}

REPEAT = 4
"""Ticks per step."""

Action = tuple[float, float, float]
"""Forward, strafe to the right, turn to the left in degrees per tick."""

LOOK = 20 * 5 * 0.022  # pixels per frame x sensitivity x degrees per pixel
LAB_ACTIONS: dict[str, Action] = {
    "forward": (1, 0, 0),
    "backward": (-1, 0, 0),
    "strafe_left": (0, -1, 0),
    "strafe_right": (0, 1, 0),
    "look_left": (0, 0, LOOK),
    "look_right": (0, 0, -LOOK),
    "forward_look_left": (1, 0, LOOK),
    "forward_look_right": (1, 0, -LOOK),
    "fire": (0, 0, 0),
}
"""The nine actions of the IMPALA and SEED experiments on DeepMind Lab; firing has no effect here."""


@dataclass(frozen=True)
class Physics:
    """Constants of motion (motion.py). Rates are per second, lengths in map units."""

    hz: int  # ticks per second
    radius: float  # half the side of the agent's box
    speed: float  # target speed of a move
    friction: float
    acceleration: float
    stop_speed: float  # speed below which friction no longer decreases


QUAKE = Physics(hz=60, radius=15, speed=320, friction=6, acceleration=10, stop_speed=100)
DOOM = Physics(hz=35, radius=16, speed=25 / 3 * 35, friction=0.09375 * 35, acceleration=0.09375 * 35, stop_speed=0)


@dataclass(frozen=True)
class Blocks:
    """A block map. The texture of an edge is that of its open cell's character in ``textures``, else of its solid
    cell's, else the level's.
    """

    text: str
    cell: float = 100
    textures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ThinWalls:
    """A thin-wall map."""

    text: str
    cell: float = 100


@dataclass(frozen=True)
class MazeGenerator:
    """Rooms joined by corridors, generated for each episode (mazes.py). Sizes in cells, odd."""

    height: int
    width: int
    rooms: int  # at most
    room_min: int = 3
    room_max: int = 5
    extra_connections: float = 0  # probability of opening an unnecessary connector
    room_starts: int = 5  # start cells per room
    room_objects: int = 4  # possible goal cells per room
    cell: float = 100

    def __post_init__(self) -> None:
        sides = (self.height, self.width, self.room_min, self.room_max)
        if any(side % 2 == 0 for side in sides) or not self.room_min <= self.room_max <= min(sides[:2]) - 2:
            raise ValueError(f"map and room sides must be odd, and rooms fit between the outer walls: {self}")
        if self.rooms < 1 or self.room_starts < 1 or not 1 <= self.room_objects <= self.room_min**2 - self.room_starts:
            raise ValueError(f"every room needs its own start and object cells: {self}")


@dataclass(frozen=True)
class RoomChain:
    """Rooms in a chain with turns, generated for each episode (chains.py): the agent starts in the first, and the goal
    is in the last. Each room's walls have one of the level's decals as their texture. Sizes in cells.
    """

    height: int
    width: int
    rooms: int
    room_min: int = 2
    room_max: int = 3
    cell: float = 100

    def __post_init__(self) -> None:
        if not (self.rooms >= 1 and 1 <= self.room_min <= self.room_max <= min(self.height, self.width) - 2):
            raise ValueError(f"rooms must fit between the outer walls: {self}")


@dataclass(frozen=True)
class DrawnGoal:
    """A goal in a random cell of each episode; on thin-wall maps also apples on a share of the other cells (rounded
    down).
    """

    kind: str = "goal"
    apple_share: float = 0


@dataclass(frozen=True)
class Television:
    """Noise in place of the right-hand ``fraction`` of the image's width: new at each step or, with a ``remote``, only
    when an additional action asks for it, which does nothing else (wrappers/noisy_tv.py).
    """

    fraction: float
    remote: bool = False


@dataclass(frozen=True)
class Level:
    """A level. Lengths in map units, angles in degrees counter-clockwise from east."""

    name: str
    summary: str
    layout: Blocks | ThinWalls | MazeGenerator | RoomChain
    seconds: float  # time limit of an episode: truncates, never terminates
    actions: Mapping[str, Action] = field(default_factory=lambda: LAB_ACTIONS)
    physics: Physics = QUAKE
    items: tuple[tuple[str, float, float], ...] = ()  # kind, x, y; in addition to those on the map
    starts: tuple[tuple[float, float, float | None], ...] = ()  # x, y, heading (None: random)
    start_marks: str = "P"  # map characters whose cells are also starts, with random heading
    start_distance: int = 0  # if not 0: start in any cell with a path to the goal longer than this, in cells
    exit: tuple[float, float, float | None] | None = None  # x, y, heading (None: random): destination of portals
    goal: DrawnGoal | None = None
    restart_when_cleared: bool = False  # the map restarts when no item with positive reward is left
    tick_reward: float = 0
    television: Television | None = None
    wall: str = "brick_grey"
    floor: str = "floor_stone"
    ceiling: str | None = None  # None: open sky
    decals: tuple[str, ...] = ()  # consecutive textures
    decal_share: float = 0  # share of walls with a decal
    wall_height: float = 100
    eye_height: float = 50
    visit_size: float | None = None  # side of the squares of info["cell"]; None: the map's cells

    def __post_init__(self) -> None:
        if self.television and self.television.remote and self.idle is None:
            raise UserError(f"{self.name}: a remote takes the place of an action that does nothing; add one: (0, 0, 0)")
        if isinstance(self.layout, RoomChain) and (self.goal is None or len(self.decals) < 2):
            raise UserError(f"{self.name}: a RoomChain needs a goal, and two decals or more for the walls of its rooms")
        if isinstance(self.layout, MazeGenerator | RoomChain):
            if self.items or self.starts or self.start_distance or (self.goal and self.goal.apple_share):
                what = type(self.layout).__name__
                raise UserError(f"{self.name}: a {what} ignores items, starts, start_distance and apple_share")
        elif self.goal is None:
            if self.start_distance:
                raise UserError(f"{self.name}: start_distance needs a random goal; set goal=DrawnGoal(), or starts")
        elif isinstance(self.layout, Blocks):
            raise UserError(f"{self.name}: Blocks have no random goal (it could be in rock); use ThinWalls, or an item")

    @property
    def idle(self) -> int | None:
        """Index of the first action that does nothing, None if there is none."""
        return next((n for n, action in enumerate(self.actions.values()) if not any(action)), None)

    @property
    def max_ticks(self) -> int:
        """Maximum episode length in simulator ticks."""
        return round(self.seconds * self.physics.hz)

    @property
    def max_steps(self) -> int:
        """Maximum episode length in agent steps."""
        return -(-self.max_ticks // REPEAT)
