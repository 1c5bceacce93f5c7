"""Exploration: which cells of its maps an agent visits. A fold over rollouts that never leaves the device.

For environments that tell the agent's cell (``info["cell"]``) and the number of cells (``VectorEnv.num_cells``). Every
row in a cell is a visit of it, also one that begins an episode. Cells of different tasks are different cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .experience import Rollout


class Heat(NamedTuple):
    """Figures of every cell of K tasks."""

    visits: Tensor  # [K, cells] int64, since training began
    reward: dict[str, Tensor]  # [K, cells] float64 by intrinsic stream: mean of arrivals; NaN where there are none


class Exploration:
    """Visits of the cells 0 to ``num_cells - 1`` of ``num_tasks`` tasks by B environments, on ``device``.

    ``rewards`` names the intrinsic streams whose normalised reward on arrival is averaged for each cell. Unlike visits,
    which are counted over life, these means are over the time since the last ``drain_heat``: a bonus fades, and a mean
    over life would show what it paid when training began.
    """

    def __init__(
        self,
        num_envs: int,
        num_tasks: int,
        num_cells: int,
        device: str | torch.device = "cpu",
        *,
        rewards: Sequence[str] = (),
    ) -> None:
        self.num_cells, self.rewards = num_cells, tuple(rewards)

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        # Current episodes: the cells visited, and their number.
        self._seen = zeros(num_envs, num_cells, dtype=torch.bool)
        self._running = zeros(num_envs)
        self._ended = zeros(2)  # since the last report: episodes that ended, and the sum of their numbers of cells
        self._visits = zeros(num_tasks, num_cells)
        # Since the last `drain_heat`: arrivals by a transition, and the rewards paid for them.
        self._arrivals = zeros(len(self.rewards), num_tasks, num_cells)
        self._paid = zeros(len(self.rewards), num_tasks, num_cells, dtype=torch.float64)
        self._next = 0  # the expected sequence number: row 0 of that rollout was counted with the one before

    @torch.no_grad()
    def update(self, rollout: Rollout, rewards: Mapping[str, Tensor] | None = None) -> None:
        """Add the next rollout of the same environments, with the normalised intrinsic rewards [T, B] by stream: those
        that are paid yet.
        """
        cell, first = rollout.info["cell"].long(), rollout.first
        self._count_episodes(cell, first, rollout.last[1:] & rollout.valid)
        place = cell + rollout.task * self.num_cells  # [T + 1, B]
        begun = 0 if self._next == 0 or rollout.sequence != self._next else 1
        self._next = rollout.sequence + 1
        visited = place[begun:].flatten()
        self._visits.view(-1).index_add_(0, visited, torch.ones_like(visited))
        arrived, counted = place[1:].flatten(), rollout.valid.flatten().long()
        for i, name in enumerate(self.rewards):
            if rewards is not None and name in rewards:
                self._arrivals[i].view(-1).index_add_(0, arrived, counted)
                paid = torch.where(rollout.valid, rewards[name], 0.0).double().flatten()
                self._paid[i].view(-1).index_add_(0, arrived, paid)

    def _count_episodes(self, cell: Tensor, first: Tensor, ended: Tensor) -> None:
        """Count the distinct cells [T + 1, B] of each episode; ``ended`` [T, B]: it ends with the row after."""
        number = first.long().cumsum(0) - first[0].long()  # of the row's episode in the rollout; 0 is that of row 0
        self._seen.masked_fill_(first[0].unsqueeze(-1), False)
        known = self._seen.gather(1, cell.T).T & (number == 0)  # row 0 too, unless it is the first ever
        new = first_occurrences(number * self.num_cells + cell) & ~known
        cells = torch.zeros_like(number).scatter_add_(0, number, new.long())  # by the episode's number
        cells[0] += self._running.masked_fill(first[0], 0)
        self._ended += torch.stack([ended.sum(), torch.where(ended, cells.gather(0, number[1:]), 0).sum()])
        current = number[-1]
        self._running = cells.gather(0, current.unsqueeze(0)).squeeze(0)
        self._seen.masked_fill_((current > 0).unsqueeze(-1), False)
        self._seen.scatter_(1, torch.where(number == current, cell, cell[-1]).T, True)

    def report(self) -> dict[str, float]:
        """Return the figures of a record, with a single host synchronisation.

        ``cells_per_episode``: mean number of distinct cells of the episodes that ended since the last report; absent if
        none did. ``cells``: distinct cells since training began, of all environments and tasks together.
        ``visit_entropy``: entropy, in nats, of the distribution over these cells of all visits since training began;
        its exponential is the number of cells that would be as many if all were visited equally often.
        """
        share = self._visits.double() / self._visits.sum().clamp(min=1)
        entropy = -torch.xlogy(share, share).sum()
        figures = torch.stack([*self._ended.double(), (self._visits > 0).sum().double(), entropy]).tolist()
        self._ended = torch.zeros_like(self._ended)
        episodes, cells, distinct, nats = figures
        mean = {"cells_per_episode": cells / episodes} if episodes else {}
        return mean | {"cells": distinct, "visit_entropy": nats}

    def drain_heat(self) -> Heat:
        """Return what a heat map shows, and begin new means of the rewards. Does not synchronise with the host."""
        means = self._paid / self._arrivals  # 0 / 0 is NaN
        self._paid, self._arrivals = torch.zeros_like(self._paid), torch.zeros_like(self._arrivals)
        return Heat(self._visits.clone(), dict(zip(self.rewards, means, strict=True)))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the complete state."""
        return {name: getattr(self, f"_{name}").clone() for name in STATE} | {"next": torch.tensor(self._next)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        for name in STATE:
            getattr(self, f"_{name}").copy_(state[name])
        self._next = int(state["next"])


STATE = ("seen", "running", "ended", "visits", "arrivals", "paid")


def first_occurrences(key: Tensor) -> Tensor:
    """Return the mask [N, B] of the entries of ``key`` [N, B] that differ from all earlier ones in their column."""
    ordered, order = key.sort(dim=0, stable=True)
    differs = torch.ones_like(ordered, dtype=torch.bool)
    differs[1:] = ordered[1:] != ordered[:-1]
    return torch.empty_like(differs).scatter_(0, order, differs)
