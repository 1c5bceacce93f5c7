"""Auxiliary losses, from settings to plugins."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import torch

from ...auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss, LossConfig
from ...auxiliaries.losses.cpc import CPCConfig
from ...backbones import Sizes
from ...envs.errors import UserError
from ...envs.experience import Spec
from ..learner_config import LearnerConfig
from ..plugins import Plugin
from .config import Config


def losses_of(config: Config, spec: Spec, sizes: Sizes) -> dict[str, Plugin]:
    """The auxiliary losses of a resolved config. UserError, naming the loss, for one that does not fit the environment
    or the network.
    """
    plugins = {}
    for name, own in config.aux.items():
        if isinstance(own, CPCConfig):  # maps of horizons that no unroll holds would be moved along and never learn
            own = dataclasses.replace(own, horizons=min(own.horizons, config.unroll))
        try:
            module = loss_of(name, own, config.learner, config.seed, spec, sizes)
        except ValueError as error:
            raise UserError(f"--aux.{name.replace('_', '-')}: {error}") from error
        plugins[name] = Plugin(module, own.weight)
    return plugins


def loss_of(
    name: str, own: LossConfig, learner: LearnerConfig, seed: int, spec: Spec, sizes: Sizes
) -> AuxiliaryLoss:
    """A registered loss, from random numbers of its own, by its name and the seed: none changes what another, or the
    agent, begins with. What it leaves at None and the learner has under the same name is the learner's. ValueError
    where it does not fit.
    """
    shared = {f.name for f in dataclasses.fields(own) if getattr(own, f.name) is None}
    shared &= {f.name for f in dataclasses.fields(learner)}
    build: Any = AUXILIARY_LOSSES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + zlib.crc32(name.encode()))
        module: AuxiliaryLoss = build(dataclasses.replace(own, **{k: getattr(learner, k) for k in shared}), spec, sizes)
    return module
