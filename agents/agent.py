"""A trained agent, to act with and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..envs.arguments import as_tensor
from ..envs.errors import UserError
from ..envs.experience import AgentState, Spec
from ..envs.trees import tree_map
from .model import ActorCritic


class Agent:
    """Acts in B environments side by side. ``config`` is how it was trained, ``step`` how long, ``spec`` where."""

    def __init__(self, model: ActorCritic, spec: Spec, config: Mapping[str, Any], step: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.spec, self.config, self.step = spec, config, step

    def initial_state(self, batch: int) -> AgentState:
        """What the agent carries before it has seen anything."""
        if type(batch) is not int or batch < 1:
            raise UserError(f"a batch is a whole number of environments, at least 1, not {batch!r}")
        return self.model.initial_state(batch)

    @torch.no_grad()
    def act(
        self,
        observation: Mapping[str, Any],
        state: AgentState,
        first: Any,
        reward: Any = None,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, AgentState]:
        """Observations [B, ...] and ``first`` [B] bool, where episodes begin -> action [B] int64, next state.

        ``reward`` [B] came with this observation: the agent sees it as it did in training; zero if left out.
        Actions are drawn from the policy, with ``generator``, or are the likeliest if ``greedy``. Tensors on any
        device, arrays and lists are taken. UserError for observations of another kind than it was trained on, and for
        what is not of the same B environments.
        """
        seen = self._seen(observation)
        batch = len(next(iter(seen.values())))
        first = self._taken("first", first, torch.bool, (batch,))
        state = self._carried(state, batch)
        if reward is not None:
            state = state._replace(reward=self._taken("reward", reward, torch.float32, (batch,)))
        if generator is not None and generator.device.type != self.model.device.type:
            raise UserError(f"the generator is on {generator.device}, the agent on {self.model.device}")
        out = self.model.act(seen, first, state)
        logits = out.logits[0]
        if greedy:
            action = logits.argmax(dim=-1)
        else:
            action = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(-1)
        return action, AgentState(out.memory, action, torch.zeros_like(state.reward))

    def _seen(self, observation: Mapping[str, Any]) -> dict[str, Tensor]:
        """The observations the agent was trained on, all of as many environments."""
        names = " and ".join(self.spec.observation)
        if not isinstance(observation, Mapping):
            raise UserError(f"an observation is a dict of {names}, not a {type(observation).__name__}")
        seen: dict[str, Tensor] = {}
        for name, (shape, dtype) in self.spec.observation.items():
            wanted = f"this agent was trained to see {name!r} as {dtype} [B, {', '.join(map(str, shape))}]"
            if name not in observation:
                raise UserError(f"{wanted}; it was given nothing")
            tensor = as_tensor(observation[name], wanted)
            if tuple(tensor.shape[1:]) != tuple(shape) or not len(tensor.shape) or not _fits(tensor.dtype, dtype):
                raise UserError(f"{wanted}; it was given {tensor.dtype} {list(tensor.shape)}")
            seen[name] = tensor.to(self.model.device, dtype)
        if len({len(x) for x in seen.values()}) > 1 or not len(seen[name]):
            sizes = ", ".join(f"{len(x)} of {name!r}" for name, x in seen.items())
            raise UserError(f"observations are of the same environments, at least 1; there are {sizes}")
        return seen

    def _taken(self, name: str, value: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        """``value`` as the agent needs it. UserError if it is of another kind."""
        wanted = f"{name} is {dtype} {list(shape)} for these observations"
        tensor = as_tensor(value, wanted)
        if tuple(tensor.shape) != shape or not _fits(tensor.dtype, dtype):
            raise UserError(f"{wanted}, not {tensor.dtype} {list(tensor.shape)}")
        return tensor.to(self.model.device, dtype)

    def _carried(self, state: AgentState, batch: int) -> AgentState:
        """``state`` on the agent's device. UserError if it is not this agent's, or of another batch."""
        if not isinstance(state, AgentState):
            raise UserError(f"state is what initial_state or the act before answered, not a {type(state).__name__}")
        kinds = _kinds(state)
        if [kind for _, kind in kinds] != self._state_kinds:
            raise UserError("state is of another agent: begin with this agent's initial_state")
        if any(size != batch for size, _ in kinds):
            raise UserError(f"state is of {len(state.action)} environments, the observations are of {batch}")
        carried: AgentState = tree_map(lambda x: x.to(self.model.device), state)
        return carried

    @cached_property
    def _state_kinds(self) -> list[tuple[int, ...]]:
        return [kind for _, kind in _kinds(self.model.initial_state(1))]


def _fits(given: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether nothing is lost or made up on the way: floating-point numbers may be of another width."""
    return given == wanted or (given.is_floating_point and wanted.is_floating_point)


def _kinds(state: AgentState) -> list[tuple[int, tuple[int, ...]]]:
    """Batch and shape of the rest of every tensor of a state."""
    found: list[tuple[int, tuple[int, ...]]] = []

    def note(x: Tensor) -> Tensor:
        found.append((len(x), tuple(x.shape[1:])))
        return x

    tree_map(note, state)
    return found
