"""Presets: named settings, each with its paper."""

from __future__ import annotations

from collections.abc import Callable

from ...auxiliaries.losses.cpc import CPCConfig
from ...auxiliaries.losses.pixel_control import PixelControlConfig
from ...auxiliaries.losses.reward_prediction import RewardPredictionConfig
from ...auxiliaries.losses.value_replay import ValueReplayConfig
from ..learner_config import LearnerConfig
from ..replay import ReplayConfig
from .config import Config


def unreal(unroll: int = 20) -> Config:
    """UNREAL's settings for unrolls of this length: its sums over the steps of an unroll are means here."""
    return Config(
        torso="shallow",
        memory="lstm",
        unroll=unroll,
        learner=LearnerConfig(
            entropy_cost=1e-3,
            # The paper draws the rate from 1e-4 to 5e-3 on a logarithmic scale: this is the middle.
            learning_rate=7e-4,
            # RMSProp's step g / sqrt(mean square + epsilon) is the same where g is T times smaller and epsilon T^2
            # times, and gradients are clipped alike at a norm T times smaller; the paper's are 0.1 and 40.
            epsilon=0.1 / unroll**2,
            epsilon_inside=True,
            max_grad_norm=40.0 / unroll,
        ),
        aux={
            "pixel_control": PixelControlConfig(weight=0.05),  # of a sum over cells at each step, as in the paper
            "reward_prediction": RewardPredictionConfig(weight=1.0 / unroll),  # 1 an update, beside sums over T steps
            "value_replay": ValueReplayConfig(weight=1.0, correct=False),
        },
        replay=ReplayConfig(capacity=128_000, state="zero"),  # 2,000 steps of each of 64 environments
    )


UNREAL = unreal()

PRESETS: dict[str, Config] = {
    "a2c": Config(),
    "a2c-lstm": Config(torso="shallow", memory="lstm"),
    "a2c-deep": Config(torso="deep", memory="lstm"),
    # The paper does not say the weight; at 1 the encoder has little left for the policy (docs/auxiliaries.md).
    "a2c-cpc": Config(
        torso="shallow", memory="lstm", num_envs=32, unroll=100,
        learner=LearnerConfig(reward="clip"), aux={"cpc": CPCConfig(weight=0.1)},
    ),
    "unreal": UNREAL,
}  # fmt: skip

BY_UNROLL: dict[str, Callable[[int], Config]] = {"unreal": unreal}
"""Presets of which some settings follow --unroll."""

ABOUT: dict[str, str] = {
    "a2c": "Nature CNN, no memory; n-step actor-critic in lock-step (Mnih et al. 2016; Mnih et al. 2015)",
    "a2c-lstm": "shallow CNN and LSTM of A3C and IMPALA (Espeholt et al. 2018, figure 3 left)",
    "a2c-deep": "deep residual CNN and LSTM of IMPALA (Espeholt et al. 2018, figure 3 right)",
    "a2c-cpc": "a2c-lstm with contrastive prediction of 30 steps in unrolls of 100 (van den Oord et al. 2018, 3.4)",
    "unreal": "A3C's LSTM agent with pixel control, reward prediction and value replay (Jaderberg et al. 2017)",
}
