"""What the world is. ``make`` builds a `VectorEnv` from a name such as ``labyrinth:seekavoid_arena_01``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import UserError, suggest
from .preprocessing import WRAPPED, build, defaults
from .processes import forked

if TYPE_CHECKING:
    import torch

    from .vector_env import VectorEnv


def _labyrinth(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 84, width: int = 84, threads: int | None = None, env_offset: int = 0, depth: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """Labyrinth levels; ``a+b`` mixes several in one batch."""
    from .labyrinth.labyrinth import Labyrinth

    return Labyrinth(
        name.split("+"), num_envs, device, seed,
        height=height, width=width, threads=threads, env_offset=env_offset, depth=depth, time_limit=time_limit,
    )  # fmt: skip


def _counting(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 5, width: int = 7, env_offset: int = 0,
) -> VectorEnv:  # fmt: skip
    """The counting environment, which proves that rows are aligned. Its only task is ``steps``."""
    from .counting import Counting

    if name != "steps":
        raise UserError(f"counting has no task {name!r}; known: steps")
    return Counting(num_envs, device, seed, height=height, width=width, env_offset=env_offset)


def _gym(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    env_offset: int = 0, restart: bool = False, workers: int = 0, timeout: float | None = None, render: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """Whatever ``gymnasium.make`` makes, with discrete actions; ``module:Name-v0`` imports the module first.

    In this process, or spread over ``workers``; one that does not answer for ``timeout`` seconds is broken.
    """
    from .adapters.gymnasium import Gymnasium

    build = partial(Gymnasium, name, time_limit=time_limit)
    options: dict[str, Any] = {"env_offset": env_offset, "restart": restart}
    if workers == 0 or render:  # pictures do not travel
        _refuse(timeout, workers)
        return build(num_envs, device, seed, render=render, **options)
    from .processes.workers import Workers

    return Workers(build, num_envs, device, seed, workers=workers, timeout=timeout, **options)


def _miniworld(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 60, width: int = 80, env_offset: int = 0, restart: bool = False, workers: int | None = None,
    timeout: float | None = None, render: bool = False,
) -> VectorEnv:  # fmt: skip
    """MiniWorld's ``MiniWorld-{name}-v0``, one worker a core (``workers`` 0: in this process)."""
    from .adapters.miniworld import MiniWorld, way_to_draw

    build = partial(MiniWorld, name, height=height, width=width, way=way_to_draw())
    options: dict[str, Any] = {"env_offset": env_offset, "restart": restart}
    if workers == 0 or render:
        _refuse(timeout, workers)
        return build(num_envs, device, seed, render=render, **options)
    from .processes.workers import Workers, cores

    count = cores() if workers is None else workers
    return Workers(build, num_envs, device, seed, workers=count, timeout=timeout, **options)


def _vizdoom(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 84, width: int = 84, stack: int = 1, repeat: int = 4,
    pools: int = 2, threads: int | None = None, env_offset: int = 0, render: bool = False,
    time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """ViZDoom's scenarios, in colour, through EnvPool; ``repeat`` tics a step."""
    from .adapters.envpool import pools as made
    from .adapters.vizdoom import task

    chosen = task(name, height=height, width=width, stack=stack, repeat=repeat, time_limit=time_limit)
    return made(chosen, num_envs, device, seed, pools=pools, threads=threads, env_offset=env_offset, render=render)


def _atari(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 84, width: int = 84, grey: bool = True, stack: int = 4, repeat: int = 4, sticky: float = 0.0,
    life_loss: bool = False, pools: int = 2,
    threads: int | None = None, env_offset: int = 0, render: bool = False, time_limit: int | None = None,
) -> VectorEnv:  # fmt: skip
    """Atari games through EnvPool, preprocessed as by Mnih et al. 2015; ``sticky`` 0.25 is Machado et al. 2018."""
    from .adapters.atari import task
    from .adapters.envpool import pools as made

    chosen = task(
        name, height=height, width=width, grey=grey, stack=stack, repeat=repeat, sticky=sticky, life_loss=life_loss,
        time_limit=time_limit,
    )  # fmt: skip
    return made(chosen, num_envs, device, seed, pools=pools, threads=threads, env_offset=env_offset, render=render)


def _minigrid(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    threads: int | None = None, env_offset: int = 0, render: bool = False,
) -> VectorEnv:  # fmt: skip
    """MiniGrid's tasks through EnvPool; those with a noisy TV, which it has not, through Gymnasium."""
    from .adapters.envpool import EnvPool
    from .adapters.gridworld import task

    if name.startswith("MultiRoomNoisyTV"):
        try:
            from .adapters.minigrid import NoisyRooms
        except ModuleNotFoundError as error:
            raise UserError("MiniGrid is not installed: pip install 'morello[envs]'") from error
        return NoisyRooms(name, num_envs, device, seed, env_offset=env_offset, render=render)

    return EnvPool(task(name), num_envs, device, seed, threads=threads, env_offset=env_offset, render=render)


def _refuse(timeout: float | None, workers: int | None) -> None:
    """UserError for a ``timeout`` of workers that are not wanted."""
    if timeout is not None and workers == 0:
        raise UserError("only workers are waited for with a timeout (--env-timeout): add workers (--env-workers)")


# Underscores keep these functions apart from the modules of the same names.
FAMILIES: dict[str, Callable[..., VectorEnv]] = {
    "labyrinth": _labyrinth,
    "vizdoom": _vizdoom,
    "atari": _atari,
    "minigrid": _minigrid,
    "miniworld": _miniworld,
    "gym": _gym,
    "counting": _counting,
}
"""Environment families. Each builds a `VectorEnv` from the name after the colon and ``make``'s arguments; its
keyword-only parameters are the options of the family."""


def make(
    name: str, num_envs: int = 1, device: str | torch.device = "cpu", seed: int = 0, **options: Any
) -> VectorEnv:
    """``num_envs`` environments ``family:name`` on ``device``; ``options`` are the family's own and those of
    `preprocessing`: height, width, grey, stack, repeat, sticky, noisy_tv, time_limit, preprocessing.

    Raises UserError, naming the way out, for an unknown family, name, device or option.
    """
    family, _, rest = name.partition(":")
    known = options_of(name)
    for option in options:
        if option not in known:
            raise UserError(f"{family} has no option {option!r}; {suggest(option, known)}")
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, not {num_envs}")
    return build(FAMILIES[family], (rest, num_envs, _usable(device), seed), options)


def options_of(name: str) -> list[str]:
    """What ``make`` takes as options for the environment ``family:name``. UserError for an unknown family."""
    return list(dict.fromkeys([*own_options(name), *WRAPPED, "repeat", "preprocessing"]))


def own_options(name: str) -> dict[str, Any]:
    """The options that the family of ``family:name`` takes itself, and their defaults. UserError if it is unknown."""
    family, colon, _ = name.partition(":")
    if not colon:
        raise UserError(f"an environment is written family:name, not {name!r}; families: {', '.join(FAMILIES)}")
    if family not in FAMILIES:
        raise UserError(f"no environment family {family!r} (in {name!r}); {suggest(family, FAMILIES)}")
    return defaults(FAMILIES[family])


def _usable(device: str | torch.device) -> torch.device:
    import torch

    try:
        usable = torch.device(device)
    except RuntimeError:
        raise UserError(f"no device {device!r}; use 'cpu' or 'cuda'") from None
    if usable.type not in ("cpu", "cuda"):
        raise UserError(f"environments run on 'cpu' or 'cuda', not on {str(device)!r}")
    if usable.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"no CUDA device here for {str(device)!r}; use device 'cpu'")
    if usable.type == "cuda":
        forked.refuse_cuda()
    return usable
