"""Environment families: description, constructor, list of environments and known scores of each.

Simulators are imported on first use, so that an entry here never requires an installed package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import UserError

if TYPE_CHECKING:
    import torch

    from .vector_env import VectorEnv

Lines = Iterator[tuple[str, str]]
Scores = Mapping[str, Mapping[str, Any]]


def _no_scores(task: str) -> Scores:
    """Return no scores, for families without measurements."""
    return {}


class Family(NamedTuple):
    """A family of environments."""

    about: str
    """One-line description."""
    build: Callable[..., VectorEnv]
    """Function that makes environments from the name after the colon, ``num_envs``, ``device`` and ``seed``; its
    keyword-only parameters are the options the family takes itself, named as in `EnvOptions`."""
    list: Callable[[], Lines]
    """Function that yields (family:name, description) for each environment."""
    references: Callable[[str], Scores] = _no_scores
    """Function that returns the known scores of "random" and "oracle" players on a task: mean, low and high (95 %
    interval), episodes; {} where they were not measured."""
    threads: int | None = None
    """CPU threads that training takes unless told otherwise; None: one per core."""


def _labyrinth(
    name: str,
    num_envs: int,
    device: torch.device,
    seed: int,
    *,
    frame_size: tuple[int, int] = (84, 84),
    threads: int | None = None,
    env_offset: int = 0,
    depth: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:
    """Make Labyrinth levels; ``a+b`` mixes several in one batch."""
    from .labyrinth.making import make_levels

    return make_levels(
        name.split("+"),
        num_envs,
        device,
        seed,
        frame_size=frame_size,
        threads=threads,
        env_offset=env_offset,
        depth=depth,
        time_limit=time_limit,
    )


def _labyrinth_lines() -> Lines:
    """List every level."""
    from .labyrinth.levels import LEVELS

    for name, level in LEVELS.items():
        yield f"labyrinth:{name}", level.summary


def _labyrinth_references(task: str) -> Scores:
    """Return the scores recorded for random play and the oracle."""
    from .labyrinth.levels import recorded_scores

    return recorded_scores(task)


def _vizdoom(
    name: str,
    num_envs: int,
    device: torch.device,
    seed: int,
    *,
    frame_size: tuple[int, int] = (84, 84),
    frame_stack: int = 1,
    action_repeat: int = 4,
    pools: int = 2,
    threads: int | None = None,
    env_offset: int = 0,
    render: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:
    """Make a ViZDoom scenario, in colour, through EnvPool, with ``action_repeat`` tics per step."""
    from .adapters.envpool import pools as made
    from .adapters.vizdoom import task

    chosen = task(
        name, frame_size=frame_size, frame_stack=frame_stack, action_repeat=action_repeat, time_limit=time_limit
    )
    return made(chosen, num_envs, device, seed, pools=pools, threads=threads, env_offset=env_offset, render=render)


def _vizdoom_lines() -> Lines:
    """List every scenario."""
    from .adapters.vizdoom import SCENARIOS, pressed

    for name, scenario in SCENARIOS.items():
        yield f"vizdoom:{name}", f"{scenario.summary}; {_actions(pressed(name))}"


def _atari(
    name: str,
    num_envs: int,
    device: torch.device,
    seed: int,
    *,
    frame_size: tuple[int, int] = (84, 84),
    grey: bool = True,
    frame_stack: int = 4,
    action_repeat: int = 4,
    sticky_actions: float = 0.0,
    life_loss: bool = False,
    pools: int = 2,
    threads: int | None = None,
    env_offset: int = 0,
    render: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:
    """Make an Atari game through EnvPool, preprocessed as in Mnih et al. 2015; ``sticky_actions`` 0.25 is the setting
    of Machado et al. 2018.
    """
    from .adapters.atari import task
    from .adapters.envpool import pools as made

    chosen = task(
        name,
        frame_size=frame_size,
        grey=grey,
        frame_stack=frame_stack,
        action_repeat=action_repeat,
        sticky_actions=sticky_actions,
        life_loss=life_loss,
        time_limit=time_limit,
    )
    return made(chosen, num_envs, device, seed, pools=pools, threads=threads, env_offset=env_offset, render=render)


def _atari_lines() -> Lines:
    """List every game."""
    from .adapters.atari import heeded
    from .adapters.envpool import tasks

    for game in tasks("atari"):
        name = game.removesuffix("-v5")
        yield f"atari:{name}", _actions(heeded(name))


def _minigrid(
    name: str,
    num_envs: int,
    device: torch.device,
    seed: int,
    *,
    threads: int | None = None,
    env_offset: int = 0,
    render: bool = False,
) -> VectorEnv:
    """Make a MiniGrid task through EnvPool, or, of a chain of rooms, through MiniGrid itself."""
    from .adapters.envpool import EnvPool
    from .adapters.gridworld import MULTI_ROOMS, task

    if name in MULTI_ROOMS:
        try:
            from .adapters.minigrid import Rooms
        except ModuleNotFoundError as error:
            raise UserError("MiniGrid is not installed: pip install 'morello[envs]'") from error
        return Rooms(name, num_envs, device, seed, env_offset=env_offset, render=render)

    return EnvPool(task(name), num_envs, device, seed, threads=threads, env_offset=env_offset, render=render)


def _minigrid_lines() -> Lines:
    """List every task."""
    from .adapters.gridworld import ACTIONS, MULTI_ROOMS, known_tasks

    for name in [*known_tasks(), *MULTI_ROOMS]:
        yield f"minigrid:{name}", _actions(ACTIONS)


def _miniworld(
    name: str,
    num_envs: int,
    device: torch.device,
    seed: int,
    *,
    frame_size: tuple[int, int] = (60, 80),
    env_offset: int = 0,
    restart_envs: bool = False,
    env_workers: int | None = None,
    env_timeout: float | None = None,
    render: bool = False,
) -> VectorEnv:
    """Make MiniWorld's ``MiniWorld-{name}-v0``, with one worker per core (``env_workers`` 0: in this process)."""
    from .adapters.miniworld import MiniWorld, way_to_draw

    build = partial(MiniWorld, name, frame_size=frame_size, way=way_to_draw())
    options: dict[str, Any] = {"env_offset": env_offset, "restart_envs": restart_envs}
    if env_workers == 0 or render:
        _refuse(env_timeout, env_workers)
        return build(num_envs, device, seed, render=render, **options)
    from .processes.workers import Workers, cores

    count = cores() if env_workers is None else env_workers
    return Workers(build, num_envs, device, seed, env_workers=count, env_timeout=env_timeout, **options)


def _miniworld_lines() -> Lines:
    """List every environment."""
    from .adapters.miniworld import names, way_to_draw

    for name in names(way_to_draw()):
        yield f"miniworld:{name}", "3D rooms and mazes with MiniWorld's own rewards"


def _gym(
    name: str,
    num_envs: int,
    device: torch.device,
    seed: int,
    *,
    env_offset: int = 0,
    restart_envs: bool = False,
    env_workers: int = 0,
    env_timeout: float | None = None,
    render: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:
    """Make any environment of ``gymnasium.make`` with discrete actions; ``module:Name-v0`` imports the module first.

    Environments run in this process, or in ``env_workers`` processes; a worker that does not answer within
    ``env_timeout`` seconds counts as broken.
    """
    from .adapters.gymnasium import Gymnasium

    build = partial(Gymnasium, name, time_limit=time_limit)
    options: dict[str, Any] = {"env_offset": env_offset, "restart_envs": restart_envs}
    if env_workers == 0 or render:  # workers do not transfer pictures
        _refuse(env_timeout, env_workers)
        return build(num_envs, device, seed, render=render, **options)
    from .processes.workers import Workers

    return Workers(build, num_envs, device, seed, env_workers=env_workers, env_timeout=env_timeout, **options)


def _gym_lines() -> Lines:
    """Yield a pattern, since the set of names is open."""
    yield "gym:ID", "any registered Gymnasium ID, such as gym:CartPole-v1; gym:module:ID imports the module first"


def _counting(
    name: str,
    num_envs: int,
    device: torch.device,
    seed: int,
    *,
    frame_size: tuple[int, int] = (5, 7),
    env_offset: int = 0,
) -> VectorEnv:
    """Make the counting environment, which verifies that rows are aligned. Its only task is ``steps``."""
    from .counting import Counting

    if name != "steps":
        raise UserError(f"counting has no task {name!r}; known: steps")
    return Counting(num_envs, device, seed, frame_size=frame_size, env_offset=env_offset)


def _counting_lines() -> Lines:
    """List the only task."""
    yield "counting:steps", "diagnostic: counts its steps, to verify that rows are aligned"


def _refuse(env_timeout: float | None, env_workers: int | None) -> None:
    """Raise UserError for a worker timeout without workers."""
    if env_timeout is not None and env_workers == 0:
        raise UserError("a timeout (--env-timeout) applies only to workers: add workers (--env-workers)")


def _actions(names: tuple[str, ...]) -> str:
    return f"{len(names)} actions: {', '.join(names)}"


FAMILIES: dict[str, Family] = {
    "labyrinth": Family(
        "first-person mazes and arenas similar to DeepMind Lab's, implemented in Warp",
        _labyrinth,
        _labyrinth_lines,
        _labyrinth_references,
    ),
    "vizdoom": Family("ViZDoom's scenarios with their original rewards, through EnvPool", _vizdoom, _vizdoom_lines),
    "atari": Family(
        "Atari 2600 games, 84x84 grey, 4 frames stacked, action repeat 4, through EnvPool",
        _atari,
        _atari_lines,
    ),
    "minigrid": Family(
        "gridworlds observed as 7x7 grids of codes, through EnvPool",
        _minigrid,
        _minigrid_lines,
        threads=1,  # a second one costs more than it computes, in arrays this small
    ),
    "miniworld": Family(
        "3D rooms and mazes, rendered with the system's OpenGL in worker processes",
        _miniworld,
        _miniworld_lines,
    ),
    "gym": Family("any Gymnasium environment with discrete actions", _gym, _gym_lines),
    "counting": Family("diagnostic environment", _counting, _counting_lines),
}
"""Environment families by the prefix before the colon."""
