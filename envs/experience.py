"""Data types shared by all packages: the answers of environments and the rollouts that agents pass to learners.

Legend, used in every file::

    T  time, in agent steps          A  actions            H, W, C  image height, width, channels
    B  parallel environments         D  features           K        reward streams

Time is always the first axis: ``[T, B, ...]``. A *step* is one decision of the agent; a *frame* is one tick of the
simulator (``frames = steps * frames_per_step``). Images are uint8 ``[..., H, W, C]``.

Alignment: at row ``t`` the agent observes ``observation[t]`` and takes ``action[t]``; ``reward[t]`` and
``discount[t]`` result from that action, and ``observation[t + 1]`` is the observation it leads to. An ended
environment is reset by its *next* step, so the true last observation of an episode is an ordinary row. The cost is
one row per episode, the one that crosses the reset (``last[t]``, hence ``first[t + 1]``): its action was ignored
and it is not a transition.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .trees import State


class Spec(NamedTuple):
    """Static description of an environment.

    ``observation`` maps "image" (uint8) and/or "vector" (float32) to the shape and dtype of one observation.
    ``max_steps`` is the longest episode in agent steps, None if unbounded. ``resumable``: ``state_dict`` is complete,
    so that a loaded environment continues bit for bit. ``stacked``: number of frames in an image, concatenated along
    its channels, oldest first. ``success``: for each task whether it has a goal; an episode that terminates on a
    positive reward has reached it. () if no task has a goal. Success is undefined for tasks without a goal.
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
    """Answer of B environments to one action.

    ``discount`` is 0 where the task terminated; a time limit leaves it at 1. Discount 0 without ``last`` is valid (a
    lost life). ``info`` is for metrics and oracle bonuses, never for the agent.
    """

    observation: dict[str, Tensor]  # "image" uint8 [B, H, W, C] and/or "vector" float32 [B, V]
    reward: Tensor  # [B] float32, result of the preceding action
    discount: Tensor  # [B] float32
    first: Tensor  # [B] bool, this observation begins an episode
    last: Tensor  # [B] bool, this observation ends one; the next step resets
    task: Tensor  # [B] int64, index into spec.tasks of this episode; may change at `first`
    info: dict[str, Tensor]  # [B, ...]


class AgentState(NamedTuple):
    """State that an agent carries from one row to the next."""

    memory: State  # of the sequence model, batch first
    action: Tensor  # [B] int64, the action preceding this row; -1: none
    reward: Tensor  # [B] float32, the extrinsic reward that came with this row


class Rollout(NamedTuple):
    """T steps of B environments: the output of actors and the only input of losses and rewards.

    Valid until ``learner.step`` returns: the actor then writes the next rollout into the same memory.
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
    source: int = 0  # index of the collecting actor
    sequence: int = 0  # position in the order of collection
    intrinsic: dict[str, Tensor] = {}  # noqa: RUF012 - [T, B] by name, normalised; the learner adds it once scored

    @property
    def valid(self) -> Tensor:
        """Mask [T, B] bool of valid transitions: False on the rows that cross a reset."""
        return ~self.last[: len(self.reward)]

    @property
    def truncated(self) -> Tensor:
        """Mask [T, B] bool of transitions that ended their episode by a time limit rather than a termination."""
        return self.last[1:] & self.valid & (self.discount == 1)

    def row(self, t: int) -> Timestep:
        """Return row ``t`` (1 to T) as the Timestep that ``env.step`` fills; views, not copies."""
        return Timestep(
            {k: v[t] for k, v in self.observation.items()},
            self.reward[t - 1],
            self.discount[t - 1],
            self.first[t],
            self.last[t],
            self.task[t],
            {k: v[t] for k, v in self.info.items()},
        )
