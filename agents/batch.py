"""What the updates of one rollout learn from, and its division into minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..auxiliaries import Scored
from ..envs.experience import AgentState, Rollout
from ..envs.trees import State, tree_map
from .replay import ROWS, STEPS


class Batch(NamedTuple):
    """A rollout with everything that is computed once for all of its updates.

    A minibatch is a batch of N segments of S steps, [S, N] in place of [T, B]. Its rollout lacks row S unless a loss or
    reward reads it.
    """

    rollout: Rollout
    logits: Tensor  # [T, B, A] of the policy before the first update
    value: dict[str, Tensor]  # [T, B] by stream, before the first update
    target: dict[str, Tensor]  # [T, B] by stream
    mask: dict[str, Tensor]  # [T, B] by stream, the rows on which its value is trained
    advantage: Tensor  # [T, B], of all streams
    scored: dict[str, Scored]  # by intrinsic reward


def standardised(advantage: Tensor, valid: Tensor) -> Tensor:
    """Return the advantage [T, B] with mean 0 and standard deviation 1 over the valid rows, and 0 on the others."""
    count = valid.sum().clamp(min=1)
    centred = torch.where(valid, advantage - torch.where(valid, advantage, 0.0).sum() / count, 0.0)
    return centred / ((centred.square().sum() / count).sqrt() + 1e-8)


def shape_of(T: int, B: int, *, segment: int | None, minibatches: int, whole: bool) -> tuple[int, int]:
    """Return the length of a segment and the least number of segments in a minibatch of a rollout [T, B]. ``whole``:
    segments are the whole unroll if ``segment`` is not given, otherwise single steps. ValueError if the settings do not
    fit the rollout.
    """
    if minibatches == 1 and segment is None:
        return T, B
    length = segment or (T if whole else 1)
    if T % length:
        raise ValueError(f"--segment {length} has to divide --unroll {T}")
    pieces = T // length * B
    if minibatches > pieces:
        raise ValueError(
            f"--minibatches {minibatches} is more than the {pieces} segments of {length} steps in a rollout: "
            "lower it, or raise --num-envs"
        )
    return length, pieces // minibatches


def shuffled(
    batch: Batch, starts: tuple[State, ...], length: int, minibatches: int, *, ahead: bool, order: Tensor
) -> Iterator[Batch]:
    """Divide a batch into minibatches of segments of ``length`` steps, in the ``order`` given: a permutation of the
    numbers of segments, where segment i begins at step i // B * length of environment i % B.

    ``starts`` holds the memory's state at the start of each segment of time, batch first. ``ahead``: the rollout keeps
    the row after the last step of a segment. Sizes differ by one segment at most.
    """
    B = batch.advantage.shape[1]
    rollout = batch.rollout
    memory = tree_map(lambda *states: torch.stack(states).flatten(0, 1), *starts)  # [segments of time * B, ...]
    action = torch.cat([rollout.state.action.unsqueeze(0), rollout.action])
    reward = torch.cat([rollout.state.reward.unsqueeze(0), rollout.reward])
    steps = torch.arange(length + 1, device=action.device).unsqueeze(-1)
    for chosen in order.tensor_split(minibatches):
        at = (chosen // B * length + steps) * B + chosen % B  # [length + 1, N], of rows flattened over time and batch
        state = AgentState(tree_map(lambda x, i=chosen: x[i], memory), _rows(action, at[0]), _rows(reward, at[0]))
        yield _cut(batch, at, state, ahead)


def _rows(x: Tensor, at: Tensor) -> Tensor:
    """Return rows ``at`` [...] of x [rows, B, ...], flattened over its first two axes."""
    return x.flatten(0, 1).index_select(0, at.flatten()).view(*at.shape, *x.shape[2:])


def _cut(batch: Batch, at: Tensor, state: AgentState, ahead: bool) -> Batch:
    """Return the segments whose rows are ``at`` [S + 1, N]."""
    T, B = batch.advantage.shape

    def steps(x: Any) -> Any:
        return tree_map(lambda x: _rows(x, at[:-1]), x)

    def rows(x: Any) -> Any:
        return tree_map(lambda x: _rows(x, at if ahead else at[:-1]), x)

    def context(name: str, scored: Scored) -> Scored:
        def either(x: Tensor) -> Tensor:
            if x.shape[:2] not in ((T, B), (T + 1, B)):
                raise ValueError(
                    f"'{name}' hands on a context of shape {list(x.shape)}; minibatches of it need the axes "
                    f"[T, B, ...] or [T + 1, B, ...] first, here {[T, B]}."
                )
            return _rows(x, at if len(x) == T + 1 else at[:-1])

        return Scored(steps(scored.raw), (), tree_map(either, scored.context))

    r = batch.rollout
    rollout = r._replace(
        state=state,
        **{k: rows(getattr(r, k)) for k in ("info", *ROWS)},
        **{k: steps(getattr(r, k)) for k in STEPS},
    )
    return Batch(
        rollout=rollout,
        **{k: steps(getattr(batch, k)) for k in ("logits", "value", "target", "mask", "advantage")},
        scored={name: context(name, scored) for name, scored in batch.scored.items()},
    )
