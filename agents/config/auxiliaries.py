"""Construction of auxiliary losses and intrinsic rewards from settings."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import torch

from ...auxiliaries import Auxiliary, AuxiliaryConfig
from ...backbones import Sizes
from ...envs.errors import UserError
from ...envs.experience import Spec
from ..learner_config import LearnerConfig
from .config import Config
from .registered import KINDS


def auxiliaries_of(config: Config, spec: Spec, sizes: Sizes) -> dict[str, Auxiliary]:
    """Return the losses and rewards of a resolved config, by name. UserError, naming the flag, for one that does not
    fit the environment or the network.
    """
    modules: dict[str, Auxiliary] = {}
    for kind in KINDS:
        for name, own in getattr(config, kind).items():
            fitted = own.fitted(config.unroll)
            try:
                modules[name] = auxiliary_of(kind, name, fitted, config.learner, config.seed, spec, sizes)
            except ValueError as error:
                raise UserError(f"--{kind}.{name.replace('_', '-')}: {error}") from error
    return modules


def auxiliary_of(
    kind: str, name: str, own: AuxiliaryConfig, learner: LearnerConfig, seed: int, spec: Spec, sizes: Sizes
) -> Auxiliary:
    """Build a registered loss or reward by its name. Its initial weights depend only on its name and the seed, not on
    other plugins, and it does not change theirs or the agent's. Settings left at None that the learner has under the
    same name take the learner's value. ValueError if it does not fit the environment or the network.
    """
    shared = {f.name for f in dataclasses.fields(own) if getattr(own, f.name) is None}
    shared &= {f.name for f in dataclasses.fields(learner)}
    build: Any = KINDS[kind].registry[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + zlib.crc32(name.encode()))
        module: Auxiliary = build(dataclasses.replace(own, **{k: getattr(learner, k) for k in shared}), spec, sizes)
    return module
