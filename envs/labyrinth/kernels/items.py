"""Items of the mazes: their kinds, rewards, effects and appearance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import warp as wp
from numpy.typing import NDArray

from .arrays import Floats2, Levels, Worlds
from .shapes import SHAPES

VANISH, MOVE, RESTART, END = 0, 1, 2, 3
"""Effects of touching an item: it vanishes; or it stays, and after the step the agent is moved to the level's exit;
or the map restarts within the episode; or the episode ends."""


class Kind(NamedTuple):
    """A kind of item. Lengths in map units."""

    name: str
    reward: float
    effect: int
    reach: float  # distance from the agent's centre below which it is touched
    colour: tuple[int, int, int]
    shape: str  # of shapes.SHAPES
    radius: float
    center: float  # height of its centre above the floor


KINDS: tuple[Kind, ...] = (
    Kind("nothing", 0, VANISH, 0, (0, 0, 0), "none", 0, 0),
    Kind("apple", 1, VANISH, 30, (214, 38, 36), "apple", 14, 28),
    Kind("lemon", -1, VANISH, 30, (244, 222, 42), "lemon", 14, 28),
    Kind("strawberry", 2, VANISH, 30, (236, 60, 118), "lemon", 14, 28),
    Kind("fungi", -10, VANISH, 30, (150, 98, 190), "apple", 16, 24),
    Kind("goal", 10, RESTART, 30, (250, 70, 220), "gem", 22, 40),
    Kind("watermelon", 20, RESTART, 30, (40, 132, 52), "apple", 24, 32),
    Kind("mango", 100, RESTART, 30, (250, 150, 30), "lemon", 22, 34),
    Kind("vest", 1, END, 36, (42, 190, 60), "vest", 14, 14),
    Kind("mirage", 0, END, 36, (42, 190, 60), "vest", 14, 14),
    Kind("portal", 0, MOVE, 30, (60, 200, 250), "gem", 22, 40),
)
"""Rewards and effects are those of DeepMind Lab's pick-ups; the vest is from ViZDoom's MyWayHome. Doom's boxes touch at
16 + 20 units; Lab's reach is of that order. A mirage looks like a vest and is worth nothing; a portal leads to the
level's exit."""

KIND: dict[str, int] = {kind.name: number for number, kind in enumerate(KINDS)}

APPLE = KIND["apple"]

SHAPE, RADIUS, CENTER, RED, GREEN, BLUE, REWARD, EFFECT, REACH = range(9)
COLUMNS = 9
"""Columns of `kinds_table`."""


def kinds_table() -> NDArray[np.float32]:
    """Return `KINDS` as float32 ``[len(KINDS), COLUMNS]``, for kernels; colours 0 to 255."""
    return np.array(
        [(SHAPES[k.shape], k.radius, k.center, *k.colour, k.reward, k.effect, k.reach) for k in KINDS], dtype=np.float32
    )


@wp.func
def first_touch(w: Worlds, kinds: Floats2, e: int, after: int) -> int:
    """Return the slot of the first item, from slot ``after`` on, that the agent touches, -1 if none."""
    x = w.position[e, 0]
    y = w.position[e, 1]
    for i in range(after, w.item_kind.shape[1]):
        kind = int(w.item_kind[e, i])
        if kind > 0:
            dx = w.item_position[e, i, 0] - x
            dy = w.item_position[e, i, 1] - y
            reach = kinds[kind, REACH]
            if dx * dx + dy * dy < reach * reach:
                return i
    return -1


@wp.func
def anything_left(w: Worlds, kinds: Floats2, e: int) -> bool:
    """Return whether an item with positive reward is left."""
    left = bool(False)
    for i in range(w.item_kind.shape[1]):
        if kinds[int(w.item_kind[e, i]), REWARD] > 0.0:
            left = True
    return left


@wp.func
def lay_items(w: Worlds, levels: Levels, e: int, k: int) -> None:
    """Put the level's fixed items into the first slots, and clear the rest."""
    fixed = levels.item_kind.shape[1]
    for i in range(w.item_kind.shape[1]):
        w.home_kind[e, i] = wp.uint8(0)
        w.item_position[e, i, 0] = 0.0
        w.item_position[e, i, 1] = 0.0
        if i < fixed:
            w.home_kind[e, i] = levels.item_kind[k, i]
            w.item_position[e, i, 0] = levels.item_position[k, i, 0]
            w.item_position[e, i, 1] = levels.item_position[k, i, 1]
