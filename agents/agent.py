"""A trained agent, to act with and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..envs.errors import UserError
from ..envs.experience import AgentState, Spec
from .model import ActorCritic


class Agent:
    """Acts in B environments side by side. ``config`` is how it was trained, ``step`` how long, ``spec`` where."""

    def __init__(self, model: ActorCritic, spec: Spec, config: Mapping[str, Any], step: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.spec, self.config, self.step = spec, config, step

    def initial_state(self, batch: int) -> AgentState:
        """What the agent carries before it has seen anything."""
        return self.model.initial_state(batch)

    @torch.no_grad()
    def act(
        self,
        observation: Mapping[str, Tensor],
        state: AgentState,
        first: Tensor,
        reward: Tensor | None = None,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, AgentState]:
        """Observations [B, ...] and ``first`` [B] bool, where episodes begin -> action [B] int64, next state.

        ``reward`` [B] came with this observation: the agent sees it as it did in training; zero if left out.
        Actions are drawn from the policy, with ``generator``, or are the likeliest if ``greedy``.
        UserError for observations of another kind than it was trained on.
        """
        for name, (shape, dtype) in self.spec.observation.items():
            seen = observation.get(name)
            if seen is None or tuple(seen.shape[1:]) != tuple(shape) or seen.dtype != dtype:
                got = "nothing" if seen is None else f"{seen.dtype} {list(seen.shape)}"
                wanted = f"{dtype} [B, {', '.join(map(str, shape))}]"
                raise UserError(f"this agent was trained to see {name!r} as {wanted}; it was given {got}")
        if reward is not None:
            state = state._replace(reward=reward)
        out = self.model.act(dict(observation), first, state)
        logits = out.logits[0]
        if greedy:
            action = logits.argmax(dim=-1)
        else:
            action = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(-1)
        return action, AgentState(out.memory, action, torch.zeros_like(state.reward))
