"""Checks of a learner's plugins: auxiliary losses and intrinsic rewards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

import torch
from torch import Tensor, nn

from ..auxiliaries import Auxiliary, AuxiliaryLoss, IntrinsicReward
from ..auxiliaries.base import Data
from ..envs.errors import UserError

RESERVED = {
    "extrinsic",
    "product",
    "combine",
    "policy",
    "value",
    "entropy",
    "agent",
    "encoder",
    "loss",
    "gradient_norm",
    "time",
    "eval",
    "explore",
}
"""Names of the learner's own streams, losses and norms, and prefixes of the records' own keys."""

EMPTY = nn.ModuleDict()
"""An empty module; its attribute names cannot be names of value heads."""


def refuse_odd(plugins: Mapping[str, Auxiliary]) -> None:
    """Check plugins: UserError or ValueError for one of an unknown kind, an invalid name or unsupported ``data``."""
    refuse_reserved(plugins)
    for name, module in plugins.items():
        if not isinstance(module, AuxiliaryLoss | IntrinsicReward):
            raise ValueError(f"'{name}' is a {type(module).__name__}, not an AuxiliaryLoss or IntrinsicReward.")
        if isinstance(module, AuxiliaryLoss) and module.data not in get_args(Data):
            raise ValueError(f"'{name}' reads '{module.data}', which is not one of {', '.join(get_args(Data))}.")


def refuse_too_small(
    plugins: Mapping[str, Auxiliary], steps: int, columns: int, *, segments: bool = False, minibatches: int = 1
) -> None:
    """Raise ValueError for a plugin that cannot learn from ``columns`` rollouts of ``steps`` steps. ``segments``: they
    are pieces of unrolls; ``minibatches``: the number of parts that they are one of.
    """
    setting = "a --segment" if segments else "an --unroll"
    for name, module in plugins.items():
        if module.length > steps:
            raise ValueError(f"'{name}' needs {setting} of at least {module.length}, not {steps}")
        if module.environments > columns and minibatches > 1:
            few = f"'{name}' needs {module.environments} segments at least in a minibatch, not {columns}"
            raise ValueError(f"{few}: lower --minibatches, or raise --num-envs")
        if module.environments > columns:
            raise ValueError(f"'{name}' needs {module.environments} environments at least: raise --num-envs")


def refuse_reserved(names: Iterable[str]) -> None:
    """Raise UserError for a plugin whose name is reserved by the learner or invalid as a module name."""
    for name in names:
        if name in RESERVED:
            raise UserError(f"A plugin cannot be called '{name}', which the learner uses itself: give it another name.")
        if not name or {*name} & {*"./"} or hasattr(EMPTY, name):  # heads and metrics use the name
            how = "give it a name without dots and slashes, and not one that torch uses"
            raise UserError(f"A plugin cannot be called '{name}': {how}.")


def refuse_needy(plugins: Mapping[str, Auxiliary], info: Iterable[str]) -> None:
    """Raise UserError for an intrinsic reward of non-zero weight that reads what the environment does not tell."""
    told = set(info)
    for name, module in plugins.items():
        if isinstance(module, IntrinsicReward) and module.config.weight and (lacks := [*{*module.needs} - told]):
            raise UserError(
                f"The intrinsic reward '{name}' reads the '{lacks[0]}' of the agent, which this environment does not "
                "tell: leave its --intrinsic.NAME.key at view, if it has one, or take another reward."
            )


def refuse_odd_loss(name: str, found: object) -> None:
    """ValueError for what is not a value and a mask of equal shape, as a ``forward`` returns them."""
    if not (isinstance(found, tuple) and len(found) == 2 and all(isinstance(x, Tensor) for x in found)):
        raise ValueError(f"'{name}' has to return a pair of tensors, value and mask, from forward.")
    value, mask = found
    if value.shape != mask.shape:
        raise ValueError(
            f"'{name}' gives a value and a mask of different shapes, {list(value.shape)} and {list(mask.shape)}."
        )
    if mask.dtype != torch.bool:
        raise ValueError(f"'{name}' gives a mask of {mask.dtype}, which has to be torch.bool.")
