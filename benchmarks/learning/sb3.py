"""Training of Stable-Baselines3's PPO; importing this module requires that library."""

# mypy: disable-error-code="import-not-found, import-untyped", disallow-subclassing-any = False

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from gymnasium.spaces import Box
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from ...agents.config.build import environment
from ...agents.config.config import Config
from ...agents.learner_config import LearnerConfig
from ...agents.model import fitting_torso
from ...backbones import TORSOS
from ...envs.errors import UserError
from ...envs.vector_env import VectorEnv, closing
from ...envs.wrappers.rewards import shaped
from ..throughput.vec_env import BatchedVecEnv
from .episodes import EpisodeLog
from .peers import peer_settings


def train(config: Config, log: EpisodeLog, own: bool = False) -> None:
    """Train the peer of an agent with resolved settings."""
    torch.set_num_threads(config.threads or 1)
    env = environment(config, config.num_envs, config.seed)
    with closing(env):
        if set(env.spec.observation) != {"image"}:
            raise UserError(f"The peers take images alone, which {config.env} does not show: add --peers none.")
        agent = peer(config, LoggedVecEnv(env, config, log), own)
        agent.learn(config.steps, callback=Updates(log, config.learner))


class LoggedVecEnv(BatchedVecEnv):
    """A batch of environments that logs the true returns and hands on rewards as our learner transforms them."""

    def __init__(self, env: VectorEnv, config: Config, log: EpisodeLog) -> None:
        super().__init__(env)
        self.learner, self.log, self.staggered = config.learner, log, config.stagger

    def reset(self) -> Any:
        """Reset all environments, start their episodes at different times if ours do, and return images."""
        image = super().reset()
        if self.staggered:
            self.batch.env.stagger()
        return image

    def step_wait(self) -> Any:
        """Take the stored actions; return images, rewards, dones and infos."""
        image, reward, done, infos = super().step_wait()
        self.log.step(reward, done)
        if self.learner.reward != "raw":
            reward = shaped(torch.from_numpy(reward), self.learner.reward).numpy()
        if self.learner.timeout_terminates and done.any():
            infos = [info | {"TimeLimit.truncated": False} if info else info for info in infos]
        return image, reward, done, infos


class Updates(BaseCallback):
    """Tells the log when training begins and when each update has ended, which is when the next rollout begins, and
    moves the entropy cost as our learner does.
    """

    def __init__(self, log: EpisodeLog, learner: LearnerConfig) -> None:
        super().__init__()
        self.log, self.learner = log, learner

    def _on_training_start(self) -> None:
        self.log.start()

    def _on_rollout_start(self) -> None:
        if self.log.steps:
            self.log.updated()
        first, last = self.learner.entropy_cost, self.learner.final_entropy_cost
        if last is not None:
            agent: Any = self.model
            agent.ent_coef = first + min(1.0, agent.num_timesteps / agent._total_timesteps) * (last - first)

    def _on_training_end(self) -> None:
        self.log.updated()

    def _on_step(self) -> bool:
        return True


class Extractor(BaseFeaturesExtractor):
    """One of our torsos as a features extractor, for images [N, C, H, W], as the library transposes them."""

    def __init__(self, observation_space: Box, torso: str) -> None:
        channels, height, width = observation_space.shape
        built = TORSOS[torso]((height, width, channels))
        super().__init__(observation_space, built.size)
        # The layout of the library's images: in ours it is slower here, and its orthogonal initialisation fails.
        self.torso = built.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels [N, C, H, W] in [0, 255] to the vector [N, E]."""
        vector: Tensor = self.torso(images.permute(0, 2, 3, 1))[1]
        return vector


def peer(config: Config, env: BatchedVecEnv, own: bool = False) -> Any:
    """Return the peer of an agent: its torso and size of memory, no further layers, and settings from ours."""
    settings, recurrent = peer_settings(config, own), config.memory != "none"
    torso = fitting_torso(env.batch.env.spec) if config.torso == "auto" else config.torso
    network: dict[str, Any] = {
        "features_extractor_class": Extractor,
        "features_extractor_kwargs": {"torso": torso},
        "net_arch": [],
        "normalize_images": False,  # the torso scales them
        "optimizer_kwargs": {"eps": settings.adam_epsilon},
    }
    if recurrent:
        network |= {"lstm_hidden_size": config.memory_size}
    kind, policy = (
        (import_module("sb3_contrib").RecurrentPPO, "CnnLstmPolicy")
        if recurrent
        else (import_module("stable_baselines3").PPO, "CnnPolicy")
    )
    rate = settings.learning_rate
    agent = kind(
        policy,
        env,
        learning_rate=rate if settings.constant_rate else lambda left: rate * left,
        n_steps=settings.unroll,
        batch_size=settings.minibatch,
        n_epochs=settings.epochs,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip,
        clip_range_vf=settings.value_clip,
        normalize_advantage=settings.normalise_advantage,
        ent_coef=settings.entropy_cost,
        vf_coef=settings.value_cost,
        max_grad_norm=settings.max_grad_norm,
        target_kl=settings.target_kl,
        policy_kwargs=network,
        device=config.device,
        seed=config.seed,
    )
    agent.set_logger(Logger(folder=None, output_formats=[]))
    # The library initialises every layer of an extractor alike; these are the torso's own initial weights.
    extractor = agent.policy.features_extractor
    extractor.torso.load_state_dict(Extractor(extractor._observation_space, torso).torso.state_dict())
    return agent
