"""``make``: builds a `VectorEnv` from a name such as ``labyrinth:seekavoid_arena_01``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import UserError, suggest
from .preprocessing import WRAPPED, build, defaults
from .processes import forked
from .registry import FAMILIES

if TYPE_CHECKING:
    import torch

    from .vector_env import VectorEnv


def make(name: str, num_envs: int = 1, device: str | torch.device = "cpu", seed: int = 0, **options: Any) -> VectorEnv:
    """Make ``num_envs`` environments ``family:name`` on ``device``. ``options`` are fields of `EnvOptions`: those that
    the family takes itself and, for every family, those of `preprocessing`; None leaves an option unset.

    Raises UserError, with a remedy, for an unknown family, name, device or option.
    """
    family, _, rest = name.partition(":")
    known = options_of(name)
    for option in options:
        if option not in known:
            raise UserError(f"{family} has no option {option!r}; {suggest(option, known)}")
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, not {num_envs}")
    return build(FAMILIES[family].build, (rest, num_envs, _usable(device), seed), options)


def options_of(name: str) -> list[str]:
    """Return the options that ``make`` takes for the environment ``family:name``. UserError for an unknown family."""
    return list(dict.fromkeys([*own_options(name), *WRAPPED, "action_repeat", "preprocessing"]))


def own_options(name: str) -> dict[str, Any]:
    """Return the options that the family of ``family:name`` takes itself, with their defaults. UserError for an unknown
    family.
    """
    family, colon, _ = name.partition(":")
    if not colon:
        raise UserError(f"an environment is written family:name, not {name!r}; families: {', '.join(FAMILIES)}")
    if family not in FAMILIES:
        raise UserError(f"no environment family {family!r} (in {name!r}); {suggest(family, FAMILIES)}")
    return defaults(FAMILIES[family].build)


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
