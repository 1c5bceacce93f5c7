"""UNREAL (Jaderberg et al. 2017, "Reinforcement learning with unsupervised auxiliary tasks")."""

from __future__ import annotations

import dataclasses

from ....auxiliaries.losses.pixel_control import PixelControlConfig
from ....auxiliaries.losses.reward_prediction import RewardPredictionConfig
from ....auxiliaries.losses.value_replay import ValueReplayConfig
from ...learner_config import LearnerConfig
from ...replay import ReplayConfig
from ..config import Config
from .base import Preset


def sums_as_means(config: Config) -> Config:
    """Convert the paper's settings, which are meant for losses summed over the T steps of an unroll, to losses averaged
    over them.

    RMSProp's step g / sqrt(mean square + epsilon) is unchanged if g is divided by T and epsilon by T^2, and gradient
    clipping is unchanged if the maximum norm is divided by T; the paper's values are 0.1 and 40. Reward prediction is a
    single loss per update, of weight 1 next to sums over T steps, so its weight here is 1 / T.
    """
    T = config.unroll
    return dataclasses.replace(
        config,
        learner=dataclasses.replace(config.learner, epsilon=0.1 / T**2, max_grad_norm=40.0 / T),
        aux=config.aux | {"reward_prediction": RewardPredictionConfig(weight=1.0 / T)},
    )


UNREAL = Preset(
    sums_as_means(
        Config(
            torso="shallow",
            memory="lstm",
            learner=LearnerConfig(
                entropy_cost=1e-3,
                # The paper draws the rate from 1e-4 to 5e-3 on a logarithmic scale: this is the middle.
                learning_rate=7e-4,
                epsilon_inside=True,
            ),
            aux={
                "pixel_control": PixelControlConfig(weight=0.05),  # of a sum over cells at each step, as in the paper
                "reward_prediction": RewardPredictionConfig(),
                "value_replay": ValueReplayConfig(weight=1.0, correct=False),
            },
            replay=ReplayConfig(capacity=128_000, state="zero"),  # 2,000 steps of each of 64 environments
        )
    ),
    "A3C's LSTM agent with pixel control, reward prediction and value replay (Jaderberg et al. 2017)",
    follow=sums_as_means,
)
