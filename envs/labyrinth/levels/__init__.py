"""Every level of Labyrinth, by name."""

from __future__ import annotations

from ..level import Level
from . import explore, my_way_home, nav_maze, seekavoid

LEVELS: dict[str, Level] = {
    level.name: level for family in (seekavoid, nav_maze, explore, my_way_home) for level in family.LEVELS
}
