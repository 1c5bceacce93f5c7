"""Registered rewards by name, with settings that make them fast."""

from dataclasses import fields, replace

import pytest
import torch

from morello.agents.learner_config import LearnerConfig
from morello.auxiliaries import INTRINSIC_REWARDS
from morello.backbones import Sizes

from .rollouts import spec

SIZES = Sizes(None, 17, 13)
A = 3
WORLDS = {
    "vector": spec(vector=11, actions=A),
    "grid": spec(image=(7, 7, 3), actions=A),
    "image": spec(image=(36, 44, 3), actions=A),
}
A2C = LearnerConfig(learning_rate=0.01, constant_rate=True)
PPO = replace(A2C, epochs=2, minibatches=2, clip=0.2, optimizer="adam", advantage="standardised", target_kl=None)
SMALL = {"size": 12, "hidden": 16, "buffer": 64, "queue": 16, "pool": 64, "batch": 16, "memory": 32, "warmup_steps": 0}
"""Settings that make a reward fast, of those that it has."""
OPTIONS = {
    "compression_progress": {"side": 6, "history": 16},
    "pseudo_count": {"side": 6},
}
"""What else a reward is told here, by name."""
IMAGES = {"compression_progress", "pseudo_count"}
"""Rewards that need images."""


def settings(name, **more):
    config = INTRINSIC_REWARDS[name].Config()
    own = {f.name for f in fields(config)}
    return replace(config, **{k: v for k, v in (SMALL | OPTIONS.get(name, {}) | more).items() if k in own})


def built(name, world, sizes=SIZES, seed=0, **more):
    torch.manual_seed(seed)
    make, config = INTRINSIC_REWARDS[name], settings(name, weight=1.0, **more)
    if name in IMAGES and "image" not in world.observation:
        with pytest.raises(ValueError, match="needs images"):
            make(config, world, sizes)
        pytest.skip("it needs images")
    return make(config, world, sizes)
