"""Construction of the four objects of a run from a config: environment, model, actor and learner."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ...auxiliaries import Auxiliary, AuxiliaryLoss, IntrinsicReward
from ...backbones import TORSOS
from ...envs import make
from ...envs.errors import UserError, suggest
from ...envs.experience import Spec
from ...envs.vector_env import VectorEnv
from ..actor import Actor
from ..learner import Learner
from ..model import EXTRINSIC, ActorCritic, fitting_torso
from ..plugins import refuse_needy, refuse_reserved
from ..replay import Replay
from ..streams import stream_names
from .auxiliaries import auxiliaries_of
from .config import Config
from .devices import keep_freed_memory
from .environment_options import environment_options
from .registered import copied


class Parts(NamedTuple):
    """The four objects of a run; a custom training loop needs no more."""

    env: VectorEnv
    model: ActorCritic
    actor: Actor
    learner: Learner


def environment(config: Config, num_envs: int, seed: int) -> VectorEnv:
    """Build the environment of a config."""
    options = environment_options(dataclasses.asdict(config))
    return make(config.env, num_envs=num_envs, device=config.device, seed=seed, **options)


def network(config: Config, spec: Spec, streams: Sequence[str] = (EXTRINSIC,)) -> ActorCritic:
    """Build the untrained model of a config."""
    torso = fitting_torso(spec) if config.torso == "auto" else config.torso
    if torso not in TORSOS:
        raise UserError(f"Unknown torso '{torso}': {suggest(torso, TORSOS)}")
    if (torso == "mlp") == ("image" in spec.observation):
        seen = " and ".join(spec.observation)
        raise UserError(f"--torso {torso} does not fit {config.env}, which shows its agent {seen}: leave it at auto.")
    try:
        model = ActorCritic(
            spec,
            torso=torso,
            memory=config.memory,
            memory_size=config.memory_size,
            streams=streams,
            bfloat16=config.dtype == "bfloat16",
        )
    except ValueError as error:  # frames too small for the torso
        raise UserError(str(error)) from error
    return model.to(config.device)


def build(config: Config, plugins: Mapping[str, Auxiliary] | None = None) -> Parts:
    """Build environment, model, actor and learner of a resolved config, seeded, with copies of ``plugins`` added."""
    given = copied(plugins)
    torch.set_num_threads(config.threads or 1)
    if torch.device(config.device).type == "cpu":
        keep_freed_memory()
    torch.set_flush_denormal(True)
    random.seed(config.seed)
    np.random.seed(config.seed % 2**32)
    torch.manual_seed(config.seed)
    env = environment(config, config.num_envs, config.seed)
    names = [*config.aux, *config.intrinsic, *given]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"There are two losses or rewards called '{min(twice)}': give one another name.")
    refuse_reserved(names)
    own = (name for name, module in given.items() if isinstance(module, IntrinsicReward))
    model = network(config, env.spec, stream_names(sorted([*config.intrinsic, *own]), config.learner.combine))
    graph = torch.device(config.device).type == "cuda" and env.capturable
    actor = Actor(env, model, config.unroll, seed=config.seed, graph=graph, keep=config.learner.updates == 1)
    if config.stagger:
        env.stagger()
    every = auxiliaries_of(config, env.spec, model.sizes) | given
    added = {name: every[name] for name in sorted(every)}  # sums do not depend on who was registered first
    refuse_needy(added, actor.rollout.info)
    try:
        reads = any(m.data != "rollout" for m in added.values() if isinstance(m, AuxiliaryLoss))
        replay = None
        if reads or config.replay.policy:
            scored = [k for k, m in added.items() if isinstance(m, IntrinsicReward) and m.config.weight]
            streams = stream_names(scored, config.learner.combine)[1:]
            rewards = dict.fromkeys(streams if config.replay.policy else (), actor.rollout.reward)
            replay = Replay(actor.rollout._replace(intrinsic=rewards), config.replay, config.seed)
        learner = Learner(
            model,
            config.learner,
            config.steps,
            plugins=added,
            replay=replay,
            extrinsic=config.extrinsic.weight,
            seed=config.seed,
        )
        learner.segments(config.unroll, config.num_envs)
    except ValueError as error:  # a loss or a replay that does not fit the settings
        raise UserError(f"{str(error).rstrip('.')}.") from error
    return Parts(env, model, actor, learner)
