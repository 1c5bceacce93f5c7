"""What a learner is given beside the agent: auxiliary losses and intrinsic rewards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from ..auxiliaries import AuxiliaryLoss, IntrinsicReward
from ..envs.errors import UserError


class Plugin(NamedTuple):
    """An auxiliary module and what belongs to it alone, so that an ablation is clean."""

    module: AuxiliaryLoss | IntrinsicReward
    weight: float
    optimizer: torch.optim.Optimizer | None = None  # None: the agent's kind, at the agent's learning rate
    max_grad_norm: float = 10.0
    gamma: float = 0.99  # of an intrinsic reward's stream

    @property
    def is_intrinsic(self) -> bool:
        """Whether it brings a reward stream."""
        return isinstance(self.module, IntrinsicReward)

    @property
    def data(self) -> str:
        """What its loss reads: see `AuxiliaryLoss`."""
        return self.module.data if isinstance(self.module, AuxiliaryLoss) else "rollout"


RESERVED = {"extrinsic", "policy", "value", "entropy", "agent", "encoder", "loss", "gradient_norm", "time", "eval"}
"""Names of the learner's own streams, losses and norms, and those that records begin with."""


EMPTY = nn.ModuleDict()
"""What its attributes are called no value head can be."""


def refuse_too_small(plugins: Mapping[str, Plugin], unroll: int, num_envs: int) -> None:
    """ValueError for a loss that has nothing to learn from rollouts of ``unroll`` steps in ``num_envs`` environments.
    """
    for name, module in ((name, plugin.module) for name, plugin in plugins.items()):
        if isinstance(module, AuxiliaryLoss) and module.length > unroll:
            raise ValueError(f"'{name}' needs an --unroll of at least {module.length}, not {unroll}")
        if isinstance(module, AuxiliaryLoss) and module.environments > num_envs:
            raise ValueError(f"'{name}' needs {module.environments} environments at least: raise --num-envs")


def refuse_reserved(names: Iterable[str]) -> None:
    """UserError for a plugin that would replace what is the learner's own, or whose name no module can have."""
    for name in names:
        if name in RESERVED:
            raise UserError(f"A plugin cannot be called '{name}', as the learner's own is: give it another name.")
        if not name or {*name} & {*"./"} or hasattr(EMPTY, name):  # heads and metrics go by it
            how = "give it a name without dots and slashes, and not one that torch uses"
            raise UserError(f"A plugin cannot be called '{name}': {how}.")
