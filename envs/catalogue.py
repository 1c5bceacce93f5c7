"""What each family holds: a line for each environment, with its actions where they are not the same for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Lines = Iterator[tuple[str, str]]


def labyrinth() -> Lines:
    """Every level."""
    from .labyrinth.levels import LEVELS

    for name, level in LEVELS.items():
        yield f"labyrinth:{name}", level.summary


def vizdoom() -> Lines:
    """Every scenario."""
    from .adapters.vizdoom import SCENARIOS, pressed

    for name, scenario in SCENARIOS.items():
        yield f"vizdoom:{name}", f"{scenario.summary}; {_actions(pressed(name))}"


def atari() -> Lines:
    """Every game."""
    from .adapters.atari import heeded
    from .adapters.envpool import tasks

    for game in tasks("atari"):
        name = game.removesuffix("-v5")
        yield f"atari:{name}", _actions(heeded(name))


def minigrid() -> Lines:
    """Every task."""
    from .adapters.gridworld import ACTIONS, ROOMS_AND_SIZE, known_tasks

    for name in [*known_tasks(), *(f"MultiRoomNoisyTV-N{rooms}-S{size}" for rooms, size in ROOMS_AND_SIZE)]:
        yield f"minigrid:{name}", _actions(ACTIONS)


def miniworld() -> Lines:
    """Every environment."""
    from .adapters.miniworld import names, way_to_draw

    for name in names(way_to_draw()):
        yield f"miniworld:{name}", "3D rooms and mazes with MiniWorld's own rewards"


def gym() -> Lines:
    """A pattern, since there is no end to them."""
    yield "gym:ID", "what Gymnasium has registered, such as gym:CartPole-v1; gym:module:ID imports the module first"


def counting() -> Lines:
    """The one there is."""
    yield "counting:steps", "diagnostic: counts its steps, to prove that nothing is misaligned"


FAMILIES: dict[str, tuple[str, Callable[[], Lines]]] = {
    "labyrinth": ("first-person mazes and arenas in the manner of DeepMind Lab, here in Warp", labyrinth),
    "vizdoom": ("ViZDoom's scenarios, with the rewards it gives, through EnvPool", vizdoom),
    "atari": ("Atari 2600 games, 84x84 in grey, 4 stacked and 4 frames a step, through EnvPool", atari),
    "minigrid": ("gridworlds seen from above as 7x7 codes, through EnvPool", minigrid),
    "miniworld": ("3D rooms and mazes, drawn by the system's OpenGL in worker processes", miniworld),
    "gym": ("anything Gymnasium makes that has discrete actions", gym),
    "counting": ("a diagnostic", counting),
}
"""What a family is, and its environments."""


def _actions(names: tuple[str, ...]) -> str:
    return f"{len(names)} actions: {', '.join(names)}"
