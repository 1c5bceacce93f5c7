"""The agent's network: torso, memory, policy and one value head per reward stream. Acting is an unroll of one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..backbones import MEMORIES, TORSOS, Features, SequenceModel, Sizes, Torso
from ..backbones.convolutional import orthogonal
from ..backbones.encoder import Encoder
from ..backbones.numerics import one_hot
from ..backbones.recurrent import Feedforward
from ..envs.experience import AgentState, Rollout, Spec
from ..envs.trees import State

EXTRINSIC = "extrinsic"
"""Name of the stream of the environment's own reward."""


class Output(NamedTuple):
    """Outputs of an unroll of T rows."""

    features: Features
    memory: State  # after the last row
    starts: tuple[State, ...]  # the memory's state before each segment

    @property
    def logits(self) -> Tensor:
        """Return the policy's logits [T, B, A]."""
        return self.features.logits

    @property
    def value(self) -> dict[str, Tensor]:
        """Return the value [T, B] of each stream, by name."""
        return self.features.value


def fitting_torso(spec: Spec) -> str:
    """Choose the torso for "auto": by the kind of observation and by the smallest image that each torso's filters
    accept.
    """
    if "image" not in spec.observation:
        return "mlp"
    side = min(spec.observation["image"][0][:2])
    return "nature" if side >= 36 else "shallow" if side >= 20 else "grid"


def heads_by_name(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of an `ActorCritic` with value heads by name. Older checkpoints number their value heads: 0 is
    the extrinsic one.
    """
    if any(name.startswith(f"values.{EXTRINSIC}.") for name in weights):  # here "0" is a user's stream of that name
        return dict(weights)
    return {name.replace("values.0.", f"values.{EXTRINSIC}."): value for name, value in weights.items()}


def by_segments(
    memory: SequenceModel, x: Tensor, state: State, first: Tensor, segment: int | None
) -> tuple[Tensor, State, tuple[State, ...]]:
    """Return the outputs of a memory, the state after the last row, and the states before each segment of rows."""
    rows = len(x)
    begins = range(0, rows - segment, segment) if segment and segment < rows else range(1)
    if isinstance(memory, Feedforward) or len(begins) == 1:
        outputs, after = memory(x, state, first)
        return outputs, after, (state,) * len(begins)
    starts, parts = [], []
    for begin, end in zip(begins, (*begins[1:], rows), strict=True):
        starts.append(state)
        part, state = memory(x[begin:end], state, first[begin:end])
        parts.append(part)
    return torch.cat(parts), state, tuple(starts)


def scale_gradient(x: Tensor, share: float) -> Tensor:
    """Return ``x`` unchanged, with its gradient scaled by ``share``."""
    return x if share == 1 else x.detach() if share == 0 else x.detach() + share * (x - x.detach())


class ActorCritic(nn.Module):
    """Encoder -> [vector, previous action, previous reward, skill] -> memory -> policy and one value head per stream.

    The previous action is one-hot and the previous reward clipped to [-1, 1] (Espeholt et al. 2018, figure 3); both are
    zero where an episode begins. ``bfloat16`` runs the torso in that precision; the rest is float32.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        torso: str = "auto",
        memory: str = "none",
        memory_size: int = 256,
        streams: Sequence[str] = (EXTRINSIC,),
        skill: int = 0,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.num_actions, self.skill = spec.num_actions, skill
        self.encoder = Encoder(spec, TORSOS[fitting_torso(spec) if torso == "auto" else torso], TORSOS["mlp"], bfloat16)
        width = self.encoder.size + spec.num_actions + 1 + skill
        self.memory = MEMORIES[memory](width, memory_size)
        self.policy = orthogonal(nn.Linear(self.memory.size, spec.num_actions), gain=0.01)
        # The extrinsic one first, so that a further stream does not change the initial weights of the others.
        self.values = nn.ModuleDict({name: orthogonal(nn.Linear(self.memory.size, 1), gain=1.0) for name in streams})

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.policy.weight.device

    @property
    def recurrent(self) -> bool:
        """Return whether outputs depend on earlier rows."""
        return not isinstance(self.memory, Feedforward)

    @property
    def sizes(self) -> Sizes:
        """Return the widths of the features, from which losses and rewards are built."""
        return self.encoder.sizes(self.memory.size)

    def initial_state(self, batch: int) -> AgentState:
        """Return the agent's state before the first observation."""
        device = self.device
        return AgentState(
            memory=self.memory.initial_state(batch),
            action=torch.full((batch,), -1, dtype=torch.int64, device=device),
            reward=torch.zeros(batch, device=device),
        )

    def forward(
        self,
        observation: dict[str, Tensor],
        first: Tensor,
        memory: State,
        action: Tensor,
        reward: Tensor,
        skill: Tensor | None = None,
        shares: Mapping[str, float] | None = None,
        segment: int | None = None,
        mapped: bool = True,
    ) -> Output:
        """Unroll T rows: observation [T, B, ...], first [T, B], memory before row 0, and the *previous* action [T, B]
        (-1: none) and reward [T, B] of each row; ``skill`` [T, B, S] is zero if not given.

        ``shares``: fraction of each value head's gradient that passes below the head, by stream; 1 for streams not
        listed. ``segment``: number of rows in a segment; row T - 1, which only bootstraps, belongs to the last one.
        ``mapped``: whether ``features.map`` is needed; otherwise it is None.
        """
        maps, vector = self.encoder(observation, mapped)
        begun = first.unsqueeze(-1)
        done, paid = one_hot(action, self.num_actions), reward.unsqueeze(-1).clamp(-1, 1)
        inputs = [vector, done & ~begun, torch.where(begun, 0.0, paid)]
        if self.skill:
            inputs.append(vector.new_zeros(*first.shape, self.skill) if skill is None else skill)
        remembered, memory, starts = by_segments(self.memory, torch.cat(inputs, dim=-1), memory, first, segment)
        # One tensor per head: in a shared one, strides would change the order of summation of gradients, and thus
        # a stream of weight 0 would change the last bits of the others.
        value = {
            name: head(scale_gradient(remembered, (shares or {}).get(name, 1.0))).squeeze(-1)
            for name, head in self.values.items()
        }
        return Output(Features(maps, vector, remembered, self.policy(remembered), value), memory, starts)

    def unroll(
        self,
        rollout: Rollout,
        shares: Mapping[str, float] | None = None,
        segment: int | None = None,
        mapped: bool = True,
    ) -> Output:
        """Unroll all rows of a rollout, T + 1 or, if it lacks the last one, T, from its initial state. ``shares``,
        ``segment`` and ``mapped`` as in ``forward``.
        """
        rows = len(rollout.first)
        return self.forward(
            rollout.observation,
            rollout.first,
            rollout.state.memory,
            torch.cat([rollout.state.action.unsqueeze(0), rollout.action[: rows - 1]]),
            torch.cat([rollout.state.reward.unsqueeze(0), rollout.reward[: rows - 1]]),
            rollout.skill if rollout.skill.shape[-1] else None,
            shares,
            segment,
            mapped,
        )

    def act(
        self, observation: dict[str, Tensor], first: Tensor, state: AgentState, skill: Tensor | None = None
    ) -> Output:
        """Unroll one row: observation [B, ...], first [B] -> an Output of T = 1."""
        return self.forward(
            {k: v.unsqueeze(0) for k, v in observation.items()},
            first.unsqueeze(0),
            state.memory,
            state.action.unsqueeze(0),
            state.reward.unsqueeze(0),
            None if skill is None else skill.unsqueeze(0),
        )

    @contextmanager
    def constant(self) -> Iterator[None]:
        """Promise that, within this context, the weights do not change and nobody reads ``features.map`` when acting.
        On a CPU acting is faster then: weights are cast to bfloat16 once, and torsos may reuse results.
        """
        if self.device.type != "cpu":
            yield
            return
        torsos = [module for module in self.encoder.modules() if isinstance(module, Torso)]
        for torso in torsos:
            torso.keep(True)
        try:
            # Changes no precision: casts are forgotten when the outermost context ends, which is now this one.
            with torch.autocast("cpu", enabled=False):
                yield
        finally:
            for torso in torsos:
                torso.keep(False)
