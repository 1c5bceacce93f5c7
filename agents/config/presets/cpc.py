"""A2C with contrastive predictive coding (van den Oord et al. 2018, section 3.4)."""

from __future__ import annotations

from ....auxiliaries.losses.cpc import CPCConfig
from ...learner_config import LearnerConfig
from ..config import Config
from .base import Preset

A2C_CPC = Preset(
    Config(
        torso="shallow",
        memory="lstm",
        num_envs=32,
        unroll=100,
        learner=LearnerConfig(reward="clip"),
        # The paper gives no weight; at 1 this loss dominates the encoder at the policy's expense (docs/auxiliaries.md).
        aux={"cpc": CPCConfig(weight=0.1)},
    ),
    "a2c-lstm with contrastive prediction of 30 steps in unrolls of 100 (van den Oord et al. 2018, 3.4)",
)
