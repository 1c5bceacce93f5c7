"""Allocation, matching and writing of timesteps and rollouts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import UserError
from .experience import AgentState, Rollout, Spec, Timestep
from .trees import tree_map


def empty_timestep(spec: Spec, num_envs: int, device: torch.device | str = "cpu", **info: Tensor) -> Timestep:
    """Allocate an all-zero answer of ``num_envs`` environments; ``info`` is used as given."""

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
    """Return every tensor of ``step`` by name. UserError if it is not a Timestep."""
    if not isinstance(step, Timestep):
        raise UserError(f"out is a Timestep, such as an answer of the environment, not a {type(step).__name__}")
    named = {k: getattr(step, k) for k in ("reward", "discount", "first", "last", "task")}
    return {**step.observation, **named, **step.info}


def matching_rows(own: Mapping[str, Tensor], out: Timestep) -> dict[str, Tensor]:
    """Return the rows of ``out`` for the tensors of ``own``, by name. UserError, naming the row, for a row of another
    shape or dtype.
    """
    theirs = leaves(out)
    for name, ours in own.items():
        if name not in theirs or (theirs[name].shape, theirs[name].dtype) != (ours.shape, ours.dtype):
            raise UserError(f"out needs {name} as {ours.dtype} {list(ours.shape)}")
    return {name: theirs[name] for name in own}


def write_rows(own: Timestep, out: Timestep | None, device: torch.device | str = "cpu") -> Timestep:
    """Copy ``own``, which its environment will overwrite, into the rows of ``out``, or into new memory on ``device``.
    UserError, before anything is written, for rows that do not match.
    """
    if out is None:
        copied: Timestep = tree_map(lambda x: x.to(device, copy=True), own)
        return copied
    ours = leaves(own)
    for name, row in matching_rows(ours, out).items():
        row.copy_(ours[name])
    return out


def empty_rollout(spec: Spec, example: Timestep, unroll: int, state: AgentState, skill: int = 0) -> Rollout:
    """Allocate a rollout of T = ``unroll`` rows, with the shapes and device of ``example``."""

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
