"""PPO (Schulman et al. 2017, "Proximal policy optimization algorithms"), alone and with memory."""

from __future__ import annotations

import dataclasses

from ...learner_config import LearnerConfig
from ..config import Config
from .base import Preset

PPO_CONFIG = Config(
    num_envs=32,
    unroll=64,
    stagger=True,
    learner=LearnerConfig(
        epochs=4,
        minibatches=4,
        clip=0.2,
        lambda_=0.95,
        advantage="minibatch",
        optimizer="adam",
        learning_rate=5e-4,
        epsilon=1e-5,
        max_grad_norm=2.0,  # at the baselines' 0.5 all gradients are clipped once reward flows; at 10 outliers pass
        value_cost=1.0,  # of half the squared error: 0.5 of the squared error in the PPO baselines
    ),
)


def with_memory(memory: str) -> Config:
    """Return the settings with a memory: the shallow network of A3C and IMPALA, minibatches of whole unrolls."""
    return dataclasses.replace(PPO_CONFIG, torso="shallow", memory=memory)


PPO = Preset(PPO_CONFIG, "several epochs of clipped policy updates per rollout (Schulman et al. 2017)")
PPO_LSTM = Preset(
    with_memory("lstm"), "ppo with a shallow CNN and an LSTM (Schulman et al. 2017; Espeholt et al. 2018)"
)
PPO_GRU = Preset(with_memory("gru"), "ppo with a shallow CNN and a GRU (Schulman et al. 2017; Cho et al. 2014)")
PPO_TRANSFORMER = Preset(
    with_memory("transformer"),
    "ppo with a shallow CNN and a causal transformer (Schulman et al. 2017; Xiong et al. 2020)",
)
