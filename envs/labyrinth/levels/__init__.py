"""All levels of Labyrinth by name, and their recorded scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..level import Level
from . import explore, multi_room_3d, my_way_home, nav_maze, nine_rooms, recall, rooms_chain, seekavoid

FILES = (
    seekavoid,
    nav_maze,
    explore,
    my_way_home,
    recall,
    rooms_chain,
    multi_room_3d,
    nine_rooms,
)
LEVELS: dict[str, Level] = {level.name: level for file in FILES for level in file.LEVELS}
SCORES = Path(__file__).parent.parent / "oracle" / "scores.json"


def recorded_scores(level: str) -> dict[str, dict[str, Any]]:
    """Return scores per episode of "random" and "oracle" play: mean, low and high (95 % interval), episodes; {} for a
    level without measurements. Under "coverage", levels without reward have the same for the squares of the floor
    (``info["cell"]``) that an episode visits.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = json.loads(SCORES.read_text())
    return scores.get(level, {})
