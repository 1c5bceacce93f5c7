"""What episodes came to: a fold over rollouts that never leaves the device.

An episode belongs to the row that ends it, and may have begun many rollouts before. The row that crosses a
reset belongs to no episode. Sums are float64: exact for whole-number rewards, whatever the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .experience import Rollout

SUMS = ("episodes", "return", "return_square", "length", "terminated", "success")


class EpisodeStatistics:
    """Sums over the episodes that ended, by task, on ``device``.

    A *terminated* episode ended with discount 0, not by a time limit; a *success* terminated on a positive
    reward: it reached a goal. (Where failing terminates and pays as well, that word says nothing.)
    """

    def __init__(self, num_envs: int, num_tasks: int = 1, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._tasks = torch.arange(num_tasks, device=self.device)
        # Of the episodes under way: return and length in steps.
        self._running = torch.zeros(2, num_envs, dtype=torch.float64, device=self.device)
        self._valid_steps = torch.zeros((), dtype=torch.int64, device=self.device)
        self._clear()

    def _clear(self) -> None:
        tasks = len(self._tasks)
        self._sums = torch.zeros(len(SUMS), tasks, dtype=torch.float64, device=self.device)
        self._low = torch.full((tasks,), torch.inf, dtype=torch.float64, device=self.device)
        self._high = torch.full((tasks,), -torch.inf, dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def update(self, rollout: Rollout) -> None:
        """Take in the next rollout of the same environments."""
        valid, first = rollout.valid, rollout.first
        reward = rollout.reward.double()
        step = torch.stack([reward, torch.ones_like(reward)], dim=1)  # [T, 2, B]
        so_far = torch.empty_like(step)
        carry = self._running
        # Added up in the order it came: the same to the last bit however the steps are cut into rollouts. What a
        # crossing row adds is gone at the row after it, which is ``first``.
        for t in range(len(step)):
            carry = torch.add(carry.masked_fill(first[t], 0.0), step[t], out=so_far[t])
        self._running = carry.clone()
        self._valid_steps += valid.sum()

        returns, length = so_far.unbind(1)  # [T, B]
        ended = rollout.last[1:] & valid
        terminated = ended & (rollout.discount == 0)
        success = terminated & (rollout.reward > 0)
        one = torch.ones_like(returns)
        values = torch.stack([one, returns, returns.square(), length, terminated.double(), success.double()])
        values = torch.where(ended, values, 0.0)
        mine = (rollout.task[:-1].unsqueeze(-1) == self._tasks) & ended.unsqueeze(-1)  # [T, B, K]
        self._sums += values.flatten(1) @ mine.flatten(0, 1).double()
        returns = returns.unsqueeze(-1)
        self._low = torch.minimum(self._low, torch.where(mine, returns, torch.inf).amin((0, 1)))
        self._high = torch.maximum(self._high, torch.where(mine, returns, -torch.inf).amax((0, 1)))

    def drain(self) -> dict[str, Tensor]:
        """The sums since the last drain, which begin anew: [K] float64 each of `SUMS`, ``return_min`` (inf if
        no episode ended) and ``return_max``; and ``valid_steps``, the running total since the beginning.
        Nothing is read by the host here.
        """
        drained = dict(zip(SUMS, self._sums.unbind(), strict=True))
        drained |= {
            "return_min": self._low,
            "return_max": self._high,
            "valid_steps": self._valid_steps.clone(),
        }
        self._clear()
        return drained

    def report(self, tasks: Sequence[str] = ()) -> dict[str, float]:
        """``drain`` and ``summary`` in one: the host waits once."""
        drained = self.drain()
        steps = drained.pop("valid_steps").double().expand(1, len(self._tasks))
        table = torch.cat([torch.stack(list(drained.values())), steps]).cpu()
        return summary(dict(zip([*drained, "valid_steps"], [*table[:-1], table[-1, 0]], strict=True)), tasks)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything: episodes under way, sums not yet drained, the total."""
        return {
            "running": self._running.clone(),
            "valid_steps": self._valid_steps.clone(),
            "sums": self._sums.clone(),
            "low": self._low.clone(),
            "high": self._high.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from ``state_dict``. An environment that begins anew instead (``first``) drops its
        episode.
        """
        for mine, theirs in (
            (self._running, state["running"]),
            (self._valid_steps, state["valid_steps"]),
            (self._sums, state["sums"]),
            (self._low, state["low"]),
            (self._high, state["high"]),
        ):
            mine.copy_(theirs)


def summary(drained: Mapping[str, Tensor], tasks: Sequence[str] = ()) -> dict[str, float]:
    """What ``drain`` gave, as metrics: means over the episodes of all tasks, and the mean return of each task
    if there are several. Names of means are left out where no episode ended.
    """
    sums = {name: tensor.tolist() for name, tensor in drained.items() if name != "valid_steps"}
    episodes = sum(sums["episodes"])
    metrics = {"episodes": episodes, "valid_steps": float(drained["valid_steps"])}
    if episodes:
        mean = {name: sum(sums[name]) / episodes for name in SUMS[1:]}
        metrics["episode_return"] = mean["return"]
        metrics["episode_return_std"] = max(0.0, mean["return_square"] - mean["return"] ** 2) ** 0.5
        metrics["episode_return_min"] = min(sums["return_min"])
        metrics["episode_return_max"] = max(sums["return_max"])
        metrics["episode_length"] = mean["length"]
        metrics["terminated"] = mean["terminated"]
        metrics["success"] = mean["success"]
    if len(tasks) > 1:
        for task, count, total in zip(tasks, sums["episodes"], sums["return"], strict=True):
            if count:
                metrics[f"episode_return/{task}"] = total / count
    return metrics
