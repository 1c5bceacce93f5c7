"""Checks of what is given to a learner beside the agent: auxiliary losses and intrinsic rewards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from torch import nn

from ..auxiliaries import Auxiliary, AuxiliaryLoss, IntrinsicReward
from ..auxiliaries.base import Data
from ..envs.errors import UserError

RESERVED = {"extrinsic", "policy", "value", "entropy", "agent", "encoder", "loss", "gradient_norm", "time", "eval"}
"""Names of the learner's own streams, losses and norms, and those that records begin with."""

EMPTY = nn.ModuleDict()
"""What its attributes are called no value head can be."""


def refuse_odd(plugins: Mapping[str, Auxiliary]) -> None:
    """UserError or ValueError for a plugin of another kind, name or reading than there is."""
    refuse_reserved(plugins)
    for name, module in plugins.items():
        if not isinstance(module, AuxiliaryLoss | IntrinsicReward):
            raise ValueError(f"'{name}' is a {type(module).__name__}, which is no AuxiliaryLoss or IntrinsicReward.")
        if isinstance(module, AuxiliaryLoss) and module.data not in get_args(Data):
            raise ValueError(f"'{name}' reads '{module.data}', which is not one of {', '.join(get_args(Data))}.")


def refuse_too_small(plugins: Mapping[str, Auxiliary], unroll: int, num_envs: int) -> None:
    """ValueError for what has nothing to learn from rollouts of ``unroll`` steps in ``num_envs`` environments."""
    for name, module in plugins.items():
        if module.length > unroll:
            raise ValueError(f"'{name}' needs an --unroll of at least {module.length}, not {unroll}")
        if module.environments > num_envs:
            raise ValueError(f"'{name}' needs {module.environments} environments at least: raise --num-envs")


def refuse_reserved(names: Iterable[str]) -> None:
    """UserError for a plugin that would replace what is the learner's own, or whose name no module can have."""
    for name in names:
        if name in RESERVED:
            raise UserError(f"A plugin cannot be called '{name}', as the learner's own is: give it another name.")
        if not name or {*name} & {*"./"} or hasattr(EMPTY, name):  # heads and metrics go by it
            how = "give it a name without dots and slashes, and not one that torch uses"
            raise UserError(f"A plugin cannot be called '{name}': {how}.")
