"""A trained agent, for acting only."""

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
    """A trained agent that acts in B environments at once. ``config`` holds its training settings, ``step`` the number
    of training steps, and ``spec`` the specification of its training environment.
    """

    def __init__(self, model: ActorCritic, spec: Spec, config: Mapping[str, Any], step: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.spec, self.config, self.step = spec, config, step

    def initial_state(self, batch: int) -> AgentState:
        """Return the agent's state before the first observation. UserError unless ``batch`` is an integer of at least
        1.
        """
        if type(batch) is not int or batch < 1:
            raise UserError(f"the batch must be a whole number of environments, at least 1, not {batch!r}")
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
        """Choose actions for B environments: observations [B, ...] and ``first`` [B] bool, True where an episode begins
        -> action [B] int64, next state.

        ``reward`` [B] is the reward received with this observation, an input to the agent as in training; zero if
        omitted. Actions are sampled from the policy, with ``generator``, or are the most likely ones if ``greedy``.
        Tensors on any device, arrays and lists are accepted. UserError if the observations differ in shape or type from
        those in training, or if the arguments do not all cover the same B environments.
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
        """Return the observations the agent was trained on, as tensors on its device. UserError unless they all have
        the expected shape and type and the same batch size.
        """
        names = " and ".join(self.spec.observation)
        if not isinstance(observation, Mapping):
            raise UserError(f"an observation must be a dict of {names}, not a {type(observation).__name__}")
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
            raise UserError(f"observations must be of the same environments, at least 1; there are {sizes}")
        return seen

    def _taken(self, name: str, value: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        """Return ``value`` as a tensor on the agent's device. UserError if its shape or type is wrong."""
        wanted = f"{name} is {dtype} {list(shape)} for these observations"
        tensor = as_tensor(value, wanted)
        if tuple(tensor.shape) != shape or not _fits(tensor.dtype, dtype):
            raise UserError(f"{wanted}, not {tensor.dtype} {list(tensor.shape)}")
        return tensor.to(self.model.device, dtype)

    def _carried(self, state: AgentState, batch: int) -> AgentState:
        """Return ``state`` on the agent's device. UserError if it belongs to another kind of agent or has another batch
        size.
        """
        if not isinstance(state, AgentState):
            raise UserError(f"state must come from initial_state or the previous act, not be a {type(state).__name__}")
        kinds = _kinds(state)
        if [kind for _, kind in kinds] != self._state_kinds:
            raise UserError("state belongs to another agent: begin with this agent's initial_state")
        if any(size != batch for size, _ in kinds):
            raise UserError(f"state is for {len(state.action)} environments, the observations are for {batch}")
        carried: AgentState = tree_map(lambda x: x.to(self.model.device), state)
        return carried

    @cached_property
    def _state_kinds(self) -> list[tuple[int, ...]]:
        return [kind for _, kind in _kinds(self.model.initial_state(1))]


def _fits(given: torch.dtype, wanted: torch.dtype) -> bool:
    """Return whether ``given`` converts to ``wanted``: equal types, or floating-point types of any width."""
    return given == wanted or (given.is_floating_point and wanted.is_floating_point)


def _kinds(state: AgentState) -> list[tuple[int, tuple[int, ...]]]:
    """Return, for every tensor of a state, its batch size and its remaining shape."""
    found: list[tuple[int, tuple[int, ...]]] = []

    def note(x: Tensor) -> Tensor:
        found.append((len(x), tuple(x.shape[1:])))
        return x

    tree_map(note, state)
    return found
