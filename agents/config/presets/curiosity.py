"""Agents with the intrinsic rewards of the literature, on PPO or on an actor-critic as their papers have them.

Weights multiply a stream's advantage, which is what papers do that add rewards of equal discount: a bonus of weight w
beside the extrinsic reward is a stream of weight w whose return ends with the episode, as theirs does (`episodic`).
Where a paper divides the bonus, the reward's normaliser does. Papers that clip the sum of both rewards to [-1, 1] clip
the extrinsic one here. Where the paper's constants are for other units, ours are said beside them.

Environments are as many as fit a CPU: 32 on PPO and IMPALA, 64 on the actor-critic, and 16 in DEIR and ETD as in the
papers. RND has 128 and trains its predictor on a quarter of the steps, which is all steps of 32; it sets its whitening
from 50 rollouts of random actions before training, which would be 205,000 steps here: 4,096 of the policy serve.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ....auxiliaries.base import IntrinsicConfig
from ....auxiliaries.intrinsic.byol_explore import BYOLExploreConfig
from ....auxiliaries.intrinsic.compression_progress import CompressionProgressConfig
from ....auxiliaries.intrinsic.count import CountConfig, LifelongConfig
from ....auxiliaries.intrinsic.deir import DEIRConfig
from ....auxiliaries.intrinsic.disagreement import DisagreementConfig
from ....auxiliaries.intrinsic.e3b import E3BConfig
from ....auxiliaries.intrinsic.etd import ETDConfig
from ....auxiliaries.intrinsic.icm import ICMConfig
from ....auxiliaries.intrinsic.lpm import LPMConfig
from ....auxiliaries.intrinsic.ngu import NGUConfig
from ....auxiliaries.intrinsic.noveld import NovelDConfig
from ....auxiliaries.intrinsic.prediction_error import PredictionErrorConfig
from ....auxiliaries.intrinsic.pseudo_count import PseudoCountConfig
from ....auxiliaries.intrinsic.re3 import RE3Config
from ....auxiliaries.intrinsic.ride import RIDEConfig
from ....auxiliaries.intrinsic.rnd import RNDConfig
from ....auxiliaries.intrinsic.vime import VIMEConfig
from ...learner_config import ExtrinsicConfig, LearnerConfig
from ..config import Config
from .base import Preset
from .ppo import PPO_CONFIG


def ppo(signals: dict[str, IntrinsicConfig], extrinsic: float = 1.0, unroll: int = 128, **learner: Any) -> Config:
    """Return PPO's settings with a reward and changes to the learner's."""
    return dataclasses.replace(
        PPO_CONFIG,
        unroll=unroll,
        intrinsic=signals,
        extrinsic=ExtrinsicConfig(weight=extrinsic),
        learner=dataclasses.replace(PPO_CONFIG.learner, **learner),
    )


def sums_as_means(config: Config) -> Config:
    """Convert the settings of papers on TorchBeast's IMPALA, whose losses are sums over the T steps of an unroll and
    means over environments, to means over both: RMSProp's step is unchanged if its epsilon, 1e-5, and the greatest norm
    of the gradient, 40, are divided by T.
    """
    T = config.unroll
    learner = dataclasses.replace(config.learner, epsilon=1e-5 / T, max_grad_norm=40.0 / T)
    return dataclasses.replace(config, learner=learner)


def impala(about: str, reward: dict[str, IntrinsicConfig], unroll: int, **learner: Any) -> Preset:
    """Return IMPALA's settings with 32 environments, a reward and changes to the learner's."""
    learning = LearnerConfig(learning_rate=1e-4, reward="clip", **learner)
    config = Config(num_envs=32, unroll=unroll, intrinsic=reward, learner=learning)
    return Preset(sums_as_means(config), about, follow=sums_as_means)


SLOW: dict[str, Any] = {"learning_rate": 1e-4, "constant_rate": True, "entropy_cost": 1e-3, "clip": 0.1}
"""PPO as in RND and in the large-scale study of curiosity, but for their gradients, which are not clipped: at `ppo`'s 2
only outliers are."""
LARGE_SCALE: dict[str, Any] = SLOW | {"epochs": 3, "minibatches": 8}
"""PPO as in the large-scale study of curiosity, and in those that follow it."""
MINIGRID: dict[str, Any] = {
    "learning_rate": 3e-4, "constant_rate": True, "entropy_cost": 0.01, "minibatches": 16, "max_grad_norm": 0.5
}  # fmt: skip
"""PPO as in DEIR and ETD: minibatches of 512 of 16 x 512 steps. Without memory: ETD has none,
DEIR has a GRU."""

CURIOUS: dict[str, Preset] = {
    "icm": Preset(
        # Clipped at 40, for sums over the 20 steps of an unroll. Raw errors, half sums over the features: of weight
        # 0.01 where those are 288, as in the paper at 42x42; here they are 576 at 42x42 and 84x84.
        Config(
            memory="lstm",
            intrinsic={"icm": ICMConfig(weight=0.005, normalise="none", episodic=True)},
            learner=LearnerConfig(optimizer="adam", learning_rate=1e-4, max_grad_norm=40.0 / 20, reward="clip"),
        ),
        "the error of a learnt model as reward, on an actor-critic with an LSTM (Pathak et al. 2017)",
    ),
    "prediction-error": Preset(
        ppo({"prediction_error": PredictionErrorConfig(weight=1.0)}, extrinsic=0.0, **LARGE_SCALE),
        "prediction error in random features, without the environment's reward (Burda et al. 2018)",
    ),
    "disagreement": Preset(
        ppo({"disagreement": DisagreementConfig(weight=1.0)}, extrinsic=0.0, **LARGE_SCALE),
        "disagreement of an ensemble, without the environment's reward (Pathak et al. 2019)",
    ),
    "lpm": Preset(
        ppo({"lpm": LPMConfig(weight=1.0)}, **LARGE_SCALE), "learning progress of a model as reward (Hou et al. 2025)"
    ),
    "rnd": Preset(
        ppo(
            {"rnd": RNDConfig(weight=1.0, value_cost=1.0, train_share=1.0)},
            extrinsic=2.0,
            gamma=0.999,
            advantage="raw",
            reward="clip",
            **SLOW,
        ),
        "random network distillation, on PPO with two value heads (Burda et al. 2018)",
    ),
    "pseudo-count": Preset(
        Config(torso="shallow", intrinsic={"pseudo_count": PseudoCountConfig(weight=0.01, normalise="none")}),
        "pseudo-counts of a density model, on an actor-critic: A3C+ (Bellemare et al. 2016)",
    ),
    "compression-progress": Preset(
        ppo({"compression_progress": CompressionProgressConfig(weight=1.0)}),
        "bits saved in coding the history as reward, on PPO (Schmidhuber 2008)",
    ),
    "vime": Preset(
        ppo({"vime": VIMEConfig(weight=1e-4, normalise="none")}),  # in units of the median, as in the script
        "information gained about the dynamics as reward, on PPO instead of TRPO (Houthooft et al. 2016)",
    ),
    "count": Preset(
        ppo({"count": LifelongConfig(weight=0.01, normalise="none", episodic=True)}, reward="clip"),
        "one over the root of lifelong visits, on PPO instead of TRPO (Tang et al. 2017)",
    ),
    "episodic-count": Preset(
        ppo({"episodic_count": CountConfig(weight=0.3)}), "one over the root of visits in the episode, on PPO"
    ),
    "ngu": Preset(
        ppo({"ngu": NGUConfig(weight=0.3, gamma=0.99)}),  # beta of the most curious of its 32 policies
        "episodic novelty times lifelong novelty, on PPO instead of R2D2 (Badia et al. 2020)",
    ),
    "ride": impala(
        "the impact of actions on learnt features, on IMPALA's learner (Raileanu & Rocktäschel 2020)",
        {"ride": RIDEConfig(weight=0.1, normalise="none")},
        100,
        entropy_cost=5e-4,
    ),
    "noveld": impala(
        "the rise of novelty at first visits, on IMPALA's learner (Zhang et al. 2021)",
        {"noveld": NovelDConfig(weight=0.05)},
        100,
        entropy_cost=5e-4,
    ),
    "e3b": impala(
        "elliptical bonuses of the episode, on IMPALA's learner (Henaff et al. 2022)",
        {"e3b": E3BConfig(weight=1.0, normalise="reward", episodic=True, unit=False)},
        80,
        entropy_cost=5e-3,
        constant_rate=True,
    ),
    "deir": Preset(
        dataclasses.replace(
            ppo({"deir": DEIRConfig(weight=0.01, normalise="standard", episodic=True)}, unroll=512, **MINIGRID),
            num_envs=16,
        ),
        "novelty in the episode relative to the trajectory's, on PPO (Wan et al. 2023)",
    ),
    "etd": Preset(
        dataclasses.replace(
            ppo({"etd": ETDConfig(weight=0.01, normalise="standard", episodic=True)}, unroll=512, **MINIGRID),
            num_envs=16,
        ),
        "temporal distance from the episode so far, on PPO (Jiang et al. 2025)",
    ),
    "re3": Preset(
        Config(intrinsic={"re3": RE3Config(weight=0.005, normalise="none", episodic=True)}),
        "distance to the nearest observations in random features, on an actor-critic (Seo et al. 2021)",
    ),
    "byol-explore": Preset(
        ppo({"byol_explore": BYOLExploreConfig(weight=0.1, normalise="none")}),
        "the error of predicting a slow copy of its own embedding, on PPO instead of V-MPO (Guo et al. 2022)",
    ),
}
