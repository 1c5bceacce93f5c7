"""The environment families: what each is, how it builds a `VectorEnv`, what it holds and what is known to score on it.

Simulators are imported when they are asked for, so that an entry here is always safe.
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
    """Return no scores: none were measured."""
    return {}


class Family(NamedTuple):
    """One family of environments."""

    about: str
    """One line for people."""
    build: Callable[..., VectorEnv]
    """Make environments from the name after the colon, ``num_envs``, ``device`` and ``seed``; the keyword-only
    parameters are the options it takes itself, in the words of `EnvOptions`."""
    list: Callable[[], Lines]
    """Yield (family:name, what it is) for each environment."""
    references: Callable[[str], Scores] = _no_scores
    """Return what "random" play and the "oracle" are known to score on a task: mean, low and high (95 % interval),
    episodes; {} where that was not measured."""


def _labyrinth(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    frame_size: tuple[int, int] = (84, 84), threads: int | None = None, env_offset: int = 0, depth: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """Make one of Labyrinth's levels; ``a+b`` mixes several in one batch."""
    from .labyrinth.labyrinth import Labyrinth

    return Labyrinth(
        name.split("+"), num_envs, device, seed,
        frame_size=frame_size, threads=threads, env_offset=env_offset, depth=depth, time_limit=time_limit,
    )  # fmt: skip


def _labyrinth_lines() -> Lines:
    """List every level."""
    from .labyrinth.levels import LEVELS

    for name, level in LEVELS.items():
        yield f"labyrinth:{name}", level.summary


def _labyrinth_references(task: str) -> Scores:
    """Return the scores recorded beside the oracle."""
    from .labyrinth.levels import recorded_scores

    return recorded_scores(task)


def _vizdoom(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    frame_size: tuple[int, int] = (84, 84), frame_stack: int = 1, action_repeat: int = 4,
    pools: int = 2, threads: int | None = None, env_offset: int = 0, render: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """Make one of ViZDoom's scenarios, in colour, through EnvPool; ``action_repeat`` tics a step."""
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
    name: str, num_envs: int, device: torch.device, seed: int, *,
    frame_size: tuple[int, int] = (84, 84), grey: bool = True, frame_stack: int = 4, action_repeat: int = 4,
    sticky_actions: float = 0.0, life_loss: bool = False, pools: int = 2,
    threads: int | None = None, env_offset: int = 0, render: bool = False, time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """Make an Atari game through EnvPool, preprocessed as by Mnih et al. 2015; ``sticky_actions`` 0.25 is Machado et
    al. 2018.
    """
    from .adapters.atari import task
    from .adapters.envpool import pools as made

    chosen = task(
        name, frame_size=frame_size, grey=grey, frame_stack=frame_stack, action_repeat=action_repeat,
        sticky_actions=sticky_actions, life_loss=life_loss, time_limit=time_limit,
    )  # fmt: skip
    return made(chosen, num_envs, device, seed, pools=pools, threads=threads, env_offset=env_offset, render=render)


def _atari_lines() -> Lines:
    """List every game."""
    from .adapters.atari import heeded
    from .adapters.envpool import tasks

    for game in tasks("atari"):
        name = game.removesuffix("-v5")
        yield f"atari:{name}", _actions(heeded(name))


def _minigrid(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    threads: int | None = None, env_offset: int = 0, render: bool = False,
) -> VectorEnv:  # fmt: skip
    """Make one of MiniGrid's tasks through EnvPool; those with a noisy TV, which it has not, through Gymnasium."""
    from .adapters.envpool import EnvPool
    from .adapters.gridworld import task

    if name.startswith("MultiRoomNoisyTV"):
        try:
            from .adapters.minigrid import NoisyRooms
        except ModuleNotFoundError as error:
            raise UserError("MiniGrid is not installed: pip install 'morello[envs]'") from error
        return NoisyRooms(name, num_envs, device, seed, env_offset=env_offset, render=render)

    return EnvPool(task(name), num_envs, device, seed, threads=threads, env_offset=env_offset, render=render)


def _minigrid_lines() -> Lines:
    """List every task."""
    from .adapters.gridworld import ACTIONS, ROOMS_AND_SIZE, known_tasks

    for name in [*known_tasks(), *(f"MultiRoomNoisyTV-N{rooms}-S{size}" for rooms, size in ROOMS_AND_SIZE)]:
        yield f"minigrid:{name}", _actions(ACTIONS)


def _miniworld(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    frame_size: tuple[int, int] = (60, 80), env_offset: int = 0, restart_envs: bool = False,
    env_workers: int | None = None, env_timeout: float | None = None, render: bool = False,
) -> VectorEnv:  # fmt: skip
    """Make MiniWorld's ``MiniWorld-{name}-v0``, one worker a core (``env_workers`` 0: in this process)."""
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
    name: str, num_envs: int, device: torch.device, seed: int, *,
    env_offset: int = 0, restart_envs: bool = False, env_workers: int = 0, env_timeout: float | None = None,
    render: bool = False, time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """Make whatever ``gymnasium.make`` makes, with discrete actions; ``module:Name-v0`` imports the module first.

    In this process, or spread over ``env_workers``; one that does not answer for ``env_timeout`` seconds is broken.
    """
    from .adapters.gymnasium import Gymnasium

    build = partial(Gymnasium, name, time_limit=time_limit)
    options: dict[str, Any] = {"env_offset": env_offset, "restart_envs": restart_envs}
    if env_workers == 0 or render:  # pictures do not travel
        _refuse(env_timeout, env_workers)
        return build(num_envs, device, seed, render=render, **options)
    from .processes.workers import Workers

    return Workers(build, num_envs, device, seed, env_workers=env_workers, env_timeout=env_timeout, **options)


def _gym_lines() -> Lines:
    """List a pattern, since there is no end to them."""
    yield "gym:ID", "what Gymnasium has registered, such as gym:CartPole-v1; gym:module:ID imports the module first"


def _counting(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    frame_size: tuple[int, int] = (5, 7), env_offset: int = 0,
) -> VectorEnv:  # fmt: skip
    """Make the counting environment, which proves that rows are aligned. Its only task is ``steps``."""
    from .counting import Counting

    if name != "steps":
        raise UserError(f"counting has no task {name!r}; known: steps")
    return Counting(num_envs, device, seed, frame_size=frame_size, env_offset=env_offset)


def _counting_lines() -> Lines:
    """List the only task."""
    yield "counting:steps", "diagnostic: counts its steps, to prove that nothing is misaligned"


def _refuse(env_timeout: float | None, env_workers: int | None) -> None:
    """Raise UserError for a timeout of workers that are not wanted."""
    if env_timeout is not None and env_workers == 0:
        raise UserError("only workers are waited for with a timeout (--env-timeout): add workers (--env-workers)")


def _actions(names: tuple[str, ...]) -> str:
    return f"{len(names)} actions: {', '.join(names)}"


FAMILIES: dict[str, Family] = {
    "labyrinth": Family(
        "first-person mazes and arenas in the manner of DeepMind Lab, here in Warp",
        _labyrinth, _labyrinth_lines, _labyrinth_references,
    ),
    "vizdoom": Family("ViZDoom's scenarios, with the rewards it gives, through EnvPool", _vizdoom, _vizdoom_lines),
    "atari": Family(
        "Atari 2600 games, 84x84 in grey, 4 stacked and 4 frames a step, through EnvPool",
        _atari, _atari_lines,
    ),
    "minigrid": Family("gridworlds seen from above as 7x7 codes, through EnvPool", _minigrid, _minigrid_lines),
    "miniworld": Family(
        "3D rooms and mazes, drawn by the system's OpenGL in worker processes",
        _miniworld, _miniworld_lines,
    ),
    "gym": Family("anything Gymnasium makes that has discrete actions", _gym, _gym_lines),
    "counting": Family("a diagnostic", _counting, _counting_lines),
}
"""Environment families by the word before the colon."""
