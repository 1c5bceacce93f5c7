"""Policies for evaluation: an agent, a random policy, an oracle."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ...envs.errors import UserError
from ...envs.experience import AgentState, Spec, Timestep
from ...envs.vector_env import VectorEnv
from ..actor import gumbel
from ..model import ActorCritic, Output


class Policy(Protocol):
    """A policy. It receives every Timestep in order, so it may have memory, which it clears where ``first``."""

    def __call__(self, timestep: Timestep) -> Tensor:
        """Return the actions to take next, [B] int64."""
        ...


class AgentPolicy:
    """A model as a policy: it samples with its own generator, or takes the most likely action if ``greedy``.

    ``output`` is the model's latest output, T = 1.
    """

    output: Output | None = None

    def __init__(self, model: ActorCritic, num_envs: int, *, seed: int = 0, greedy: bool = False) -> None:
        self.model, self.greedy = model, greedy
        self.state: AgentState = model.initial_state(num_envs)
        self.generator = torch.Generator(self.state.action.device).manual_seed(seed)

    @torch.no_grad()
    def __call__(self, timestep: Timestep) -> Tensor:
        """Return the actions [B] int64. Memory, previous action and reward are cleared where ``first``."""
        before = self.state._replace(reward=timestep.reward)
        self.output = self.model.act(timestep.observation, timestep.first, before)
        logits = self.output.logits[0]
        if not self.greedy:
            logits = logits + gumbel(tuple(logits.shape), self.generator)
        action = logits.argmax(-1)
        self.state = self.state._replace(memory=self.output.memory, action=action)
        return action


def agent_policy(model: ActorCritic, num_envs: int, *, seed: int = 0, greedy: bool = False) -> AgentPolicy:
    """Return a policy that acts with the model."""
    return AgentPolicy(model, num_envs, seed=seed, greedy=greedy)


def random_policy(spec: Spec, seed: int = 0) -> Policy:
    """Return a policy that takes every action with equal probability."""
    generator = torch.Generator().manual_seed(seed)

    def act(timestep: Timestep) -> Tensor:
        batch, device = timestep.reward.shape, timestep.reward.device
        return torch.randint(spec.num_actions, batch, generator=generator).to(device)

    return act


def oracle_policy(env: VectorEnv, name: str = "this environment") -> Policy:
    """Return the environment's scripted player. UserError if it has none."""
    player = env.oracle()
    if player is None:
        raise UserError(f"{name} has no oracle (a scripted player for reference): leave --play-references out")
    return player
