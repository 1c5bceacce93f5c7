"""The words every folder shares: what an environment says, and what an agent hands to its learner.

Legend, used in every file::

    T  time, in agent steps          A  actions            H, W, C  image height, width, channels
    B  environments side by side     D  features           K        reward streams

Time comes first, always: ``[T, B, ...]``. A *step* is one decision of the agent; a *frame* is one tick of the
simulator (``frames = steps * frames_per_step``). Images are uint8 ``[..., H, W, C]``.

Alignment, said once. At row ``t`` the agent sees ``observation[t]`` and takes ``action[t]``; ``reward[t]`` and
``discount[t]`` are caused by that action, and ``observation[t + 1]`` is what it led to. An ended environment is
reset by its *next* step, so the true last observation of an episode is an ordinary row. The price is one row an
episode, the one that crosses the reset (``last[t]``, hence ``first[t + 1]``): its action was ignored and it is
not a transition.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .trees import State


class Spec(NamedTuple):
    """What an environment is, before anything happens.

    ``observation`` maps "image" (uint8) and/or "vector" (float32) to the shape of one observation and its dtype.
    ``max_steps`` is the longest episode in agent steps, None if unbounded. ``resumable``: ``state_dict`` holds
    everything, so that a loaded environment continues bit for bit. ``stacked``: how many frames an image is of, side by
    side in its channels, the oldest first. ``success``: for each task whether it has a goal, which an episode reached
    that terminates on a positive reward; () where none has one. Other tasks have no such thing as success.
    """

    observation: dict[str, tuple[tuple[int, ...], torch.dtype]]
    num_actions: int
    action_names: tuple[str, ...]
    tasks: tuple[str, ...]
    frames_per_step: int
    max_steps: int | None
    resumable: bool
    stacked: int = 1
    success: tuple[bool, ...] = ()


class Timestep(NamedTuple):
    """The answer of B environments to one action.

    ``discount`` is 0 where the task terminated; a time limit leaves 1. Discount 0 without ``last`` is legal (a
    lost life). ``info`` is for metrics and oracle bonuses, never for the agent.
    """

    observation: dict[str, Tensor]  # "image" uint8 [B, H, W, C] and/or "vector" float32 [B, V]
    reward: Tensor  # [B] float32, caused by the action before it
    discount: Tensor  # [B] float32
    first: Tensor  # [B] bool, this observation begins an episode
    last: Tensor  # [B] bool, this observation ends one; the next step resets
    task: Tensor  # [B] int64, which of spec.tasks this episode plays; may change at `first`
    info: dict[str, Tensor]  # [B, ...]


class AgentState(NamedTuple):
    """What an agent carries from one row to the next."""

    memory: State  # of the sequence model, batch first
    action: Tensor  # [B] int64, the action before this row; -1: none
    reward: Tensor  # [B] float32, the extrinsic reward that came with this row


class Rollout(NamedTuple):
    """T steps of B environments: what actors hand to learners, and all that losses and rewards read.

    Borrowed until ``learner.step`` returns: the actor then writes the next one into the same memory.
    """

    observation: dict[str, Tensor]  # [T + 1, B, ...]
    first: Tensor  # [T + 1, B] bool
    last: Tensor  # [T + 1, B] bool
    task: Tensor  # [T + 1, B] int64
    info: dict[str, Tensor]  # [T + 1, B, ...]
    action: Tensor  # [T, B] int64
    logits: Tensor  # [T, B, A] of the behaviour policy
    reward: Tensor  # [T, B] float32
    discount: Tensor  # [T, B] float32
    skill: Tensor  # [T + 1, B, S] float32; S = 0 unless a skill-conditioned reward is on
    state: AgentState  # before observation 0
    source: int = 0  # who collected it
    sequence: int = 0  # in which order

    @property
    def valid(self) -> Tensor:
        """[T, B] bool, False on the row that crosses a reset: it is no transition."""
        return ~self.last[:-1]

    @property
    def truncated(self) -> Tensor:
        """[T, B] bool, the transition ended its episode by a time limit, not by a termination."""
        return self.last[1:] & self.valid & (self.discount == 1)

    def row(self, t: int) -> Timestep:
        """Row ``t`` (1 to T) as the Timestep that ``env.step`` fills; views, no copies."""
        return Timestep(
            {k: v[t] for k, v in self.observation.items()}, self.reward[t - 1], self.discount[t - 1],
            self.first[t], self.last[t], self.task[t], {k: v[t] for k, v in self.info.items()},
        )  # fmt: skip
