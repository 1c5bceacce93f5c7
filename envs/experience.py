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

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .errors import UserError

State = Any
"""A tree (tensor, tuple, dict) of batch-first, fixed-shape tensors; ``()`` for what remembers nothing."""


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
    version: int = 0  # with which weights

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


class VectorEnv(Protocol):
    """B environments, torch-native and batched from the start.

    After ``reset`` every row is ``first``. ``step`` writes into the rows of ``out`` when given (same shapes,
    dtypes and device as a returned Timestep); without it, as ``reset`` always does, it answers in fresh memory, which
    is the caller's to keep. ``reset(mask=...)`` begins a new episode where mask is True and leaves the others as they
    were.

    A picture for people is optional, and looked up with getattr: ``render() -> NDArray[uint8] | None`` [H, W, 3] shows
    environment 0 as it was last answered. A family that must be told beforehand has the option ``render``.
    """

    num_envs: int
    spec: Spec

    def reset(self, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Begin episodes: everywhere, or where ``mask`` [B] is True. ``seed`` restarts the random streams."""
        ...

    def step(self, action: Tensor, out: Timestep | None = None) -> Timestep:
        """Act: ``action`` [B] int64. Where the previous answer was ``last`` the action is ignored and a new
        episode begins: reward 0, discount 1, ``first``.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides the future, where ``spec.resumable``."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict``: the next ``step`` answers as it would have then."""
        ...


@contextmanager
def closing(env: VectorEnv) -> Iterator[VectorEnv]:
    """``env``, closed at the end where it can be: simulators may hold processes, windows or files."""
    try:
        yield env
    finally:
        close = getattr(env, "close", None)
        if close is not None:
            close()


def empty_timestep(spec: Spec, num_envs: int, device: torch.device | str = "cpu", **info: Tensor) -> Timestep:
    """Memory for an answer of ``num_envs`` environments, all zeros; ``info`` is taken as it is."""

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(num_envs, *shape, dtype=dtype, device=device)

    return Timestep(
        observation={name: zeros(*shape, dtype=dtype) for name, (shape, dtype) in spec.observation.items()},
        reward=zeros(),
        discount=zeros(),
        first=zeros(dtype=torch.bool),
        last=zeros(dtype=torch.bool),
        task=zeros(dtype=torch.int64),
        info=info,
    )


def leaves(step: Timestep) -> dict[str, Tensor]:
    """Every tensor of ``step`` by name. UserError for what is no Timestep."""
    if not isinstance(step, Timestep):
        raise UserError(f"out is a Timestep, such as an answer of the environment, not a {type(step).__name__}")
    named = {k: getattr(step, k) for k in ("reward", "discount", "first", "last", "task")}
    return {**step.observation, **named, **step.info}


def fitting(own: Mapping[str, Tensor], out: Timestep) -> dict[str, Tensor]:
    """The rows of ``out`` for the tensors of ``own``, by name. UserError, naming it, for a row of another shape or
    dtype.
    """
    theirs = leaves(out)
    for name, ours in own.items():
        if name not in theirs or (theirs[name].shape, theirs[name].dtype) != (ours.shape, ours.dtype):
            raise UserError(f"out needs {name} as {ours.dtype} {list(ours.shape)}")
    return {name: theirs[name] for name in own}


def hand_out(own: Timestep, out: Timestep | None, device: torch.device | str = "cpu") -> Timestep:
    """``own``, which its environment will write again, copied into the rows of ``out``, or into fresh memory on
    ``device``. UserError, before anything is written, for rows that do not fit.
    """
    if out is None:
        copied: Timestep = tree_map(lambda x: x.to(device, copy=True), own)
        return copied
    ours = leaves(own)
    for name, row in fitting(ours, out).items():
        row.copy_(ours[name])
    return out


def empty_rollout(spec: Spec, example: Timestep, unroll: int, state: AgentState, skill: int = 0) -> Rollout:
    """A preallocated rollout of T = ``unroll`` rows, shaped like ``example`` and on its device."""

    def rows(x: Tensor, count: int) -> Tensor:
        return x.new_empty((count, *x.shape))

    B, device = example.reward.shape[0], example.reward.device
    return Rollout(
        observation={k: rows(v, unroll + 1) for k, v in example.observation.items()},
        first=rows(example.first, unroll + 1),
        last=rows(example.last, unroll + 1),
        task=rows(example.task, unroll + 1),
        info={k: rows(v, unroll + 1) for k, v in example.info.items()},
        action=torch.zeros(unroll, B, dtype=torch.int64, device=device),
        logits=torch.zeros(unroll, B, spec.num_actions, device=device),
        reward=rows(example.reward, unroll),
        discount=rows(example.discount, unroll),
        skill=torch.zeros(unroll + 1, B, skill, device=device),
        state=state,
    )


def tree_map(function: Callable[..., Tensor], tree: State, *others: State) -> State:
    """``function`` applied to every tensor of a State, and to those at the same place in ``others``."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, dict):
        return {k: tree_map(function, v, *(o[k] for o in others)) for k, v in tree.items()}
    leaves = (tree_map(function, *group) for group in zip(tree, *others, strict=True))
    return type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves)


def reset_state(state: State, first: Tensor, initial: State) -> State:
    """``state`` with the rows where ``first`` [B] is True replaced by ``initial``."""
    return tree_map(lambda s, i: torch.where(first.view(-1, *[1] * (s.dim() - 1)), i, s), state, initial)
