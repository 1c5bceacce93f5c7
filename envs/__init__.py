"""What the world is. ``make`` builds a `VectorEnv` from a name such as ``labyrinth:seekavoid_arena_01``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import UserError, suggest

if TYPE_CHECKING:
    import torch

    from .experience import VectorEnv


def labyrinth(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 84, width: int = 84, threads: int | None = None, env_offset: int = 0, depth: bool = False,
) -> VectorEnv:  # fmt: skip
    """Labyrinth levels; ``a+b`` mixes several in one batch."""
    from .labyrinth.labyrinth import Labyrinth

    return Labyrinth(
        name.split("+"), num_envs, device, seed,
        height=height, width=width, threads=threads, env_offset=env_offset, depth=depth,
    )  # fmt: skip


def counting(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 5, width: int = 7, env_offset: int = 0,
) -> VectorEnv:  # fmt: skip
    """The counting environment, which proves that rows are aligned. Its only task is ``steps``."""
    from .counting import Counting

    if name != "steps":
        raise UserError(f"counting has no task {name!r}; known: steps")
    return Counting(num_envs, device, seed, height=height, width=width, env_offset=env_offset)


def gym(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    env_offset: int = 0, restart: bool = False, workers: int = 0, timeout: float = 60.0,
) -> VectorEnv:  # fmt: skip
    """Whatever ``gymnasium.make`` makes, with discrete actions; ``module:Name-v0`` imports the module first.

    In this process, or spread over ``workers``; one that does not answer for ``timeout`` seconds is broken.
    """
    from .gymnasium import Gymnasium

    build = partial(Gymnasium, name)
    if workers == 0:
        return build(num_envs, device, seed, env_offset=env_offset, restart=restart)
    from .workers import Workers

    return Workers(
        build, num_envs, device, seed, workers=workers, env_offset=env_offset, restart=restart, timeout=timeout
    )


def miniworld(
    name: str, num_envs: int, device: torch.device, seed: int, *,
    height: int = 60, width: int = 80, env_offset: int = 0, restart: bool = False, workers: int | None = None,
    timeout: float = 60.0,
) -> VectorEnv:  # fmt: skip
    """MiniWorld's ``MiniWorld-{name}-v0``, one worker a core (``workers`` 0: in this process)."""
    from .miniworld import MiniWorld, way_to_draw

    build = partial(MiniWorld, name, height=height, width=width, way=way_to_draw())
    if workers == 0:
        return build(num_envs, device, seed, env_offset=env_offset, restart=restart)
    from .workers import Workers, cores

    return Workers(
        build, num_envs, device, seed,
        workers=cores() if workers is None else workers, env_offset=env_offset, restart=restart, timeout=timeout,
    )  # fmt: skip


FAMILIES: dict[str, Callable[..., VectorEnv]] = {
    "labyrinth": labyrinth,
    "miniworld": miniworld,
    "gym": gym,
    "counting": counting,
}
"""Environment families. Each builds a `VectorEnv` from the name after the colon and ``make``'s arguments; its
keyword-only parameters are the options of the family."""


def make(
    name: str, num_envs: int = 1, device: str | torch.device = "cpu", seed: int = 0, **options: Any
) -> VectorEnv:
    """``num_envs`` environments ``family:name`` on ``device``; ``options`` are the family's own.

    Raises UserError, naming the way out, for an unknown family, name, device or option.
    """
    family, colon, rest = name.partition(":")
    if not colon:
        raise UserError(f"an environment is written family:name, not {name!r}; families: {', '.join(FAMILIES)}")
    if family not in FAMILIES:
        raise UserError(f"no environment family {family!r} (in {name!r}); {suggest(family, FAMILIES)}")
    build = FAMILIES[family]
    known = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UserError(f"{family} has no option {option!r}; {suggest(option, known)}")
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, not {num_envs}")
    return build(rest, num_envs, _usable(device), seed, **options)


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
    return usable
