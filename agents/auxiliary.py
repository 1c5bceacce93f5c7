"""Auxiliary losses, from settings to plugins."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import torch

from ..auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss
from ..backbones import Sizes
from ..envs.errors import UserError
from ..envs.experience import Spec
from .plugins import Plugin
from .presets import Config


def losses_of(config: Config, spec: Spec, sizes: Sizes) -> dict[str, Plugin]:
    """The auxiliary losses of a resolved config. Each is made from random numbers of its own, by its name and the seed:
    none changes what another, or the agent, begins with. What a loss leaves at None and the learner has under the same
    name is the learner's. UserError, naming the loss, where it does not fit.
    """
    plugins = {}
    for name, own in config.aux.items():
        shared = {f.name for f in dataclasses.fields(own) if getattr(own, f.name) is None}
        shared &= {f.name for f in dataclasses.fields(config.learner)}
        known: dict[str, Any] = {k: getattr(config.learner, k) for k in shared}
        if config.grey and getattr(own, "channels", 1) is None:
            known["channels"] = 1  # of grey frames, however many are stacked
        filled = dataclasses.replace(own, **known)
        build: Any = AUXILIARY_LOSSES[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + zlib.crc32(name.encode()))
            try:
                module: AuxiliaryLoss = build(filled, spec, sizes)
            except ValueError as error:
                raise UserError(f"--aux.{name.replace('_', '-')}: {error}") from error
        if module.data == "transition_replay" and module.length > config.unroll:
            raise UserError(f"--aux.{name.replace('_', '-')} needs an --unroll of at least {module.length}.")
        plugins[name] = Plugin(module, own.weight)
    return plugins
