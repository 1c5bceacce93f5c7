"""Environments. ``make`` builds a `VectorEnv` from a name such as ``labyrinth:seekavoid_arena_01``."""

from .making import make, options_of, own_options
from .options import EnvOptions, EnvSettings
from .registry import FAMILIES, Family

__all__ = ["FAMILIES", "EnvOptions", "EnvSettings", "Family", "make", "options_of", "own_options"]
