"""Episode statistics: a fold over rollouts that never leaves the device.

An episode is counted at the row that ends it, and may have begun many rollouts earlier. The row that crosses a reset
belongs to no episode. Sums are float64: exact for whole-number rewards in any order.

Means are over a window, the last episodes of each environment, and each environment has equal weight. This avoids a
bias: the first episodes to end are short, and an environment with short episodes ends many, so a mean over all episodes
that have ended favours those that end early. The episodes that one environment has finished by step n are exchangeable
given their number; the mean of its last ones therefore has the expectation of its first episode, given that this one
takes at most n steps. For a policy that does not learn it follows that:

- the first figure reported, once every environment has finished an episode, is unbiased if there is a record at every
  step (with few environments and infrequent records it is biased towards short episodes, which leave time for more);
- at step n the expectation is that of an episode of at most n steps: exact once n reaches the longest episode.

While any environment is still in its first episode no figure is reported. For a policy that learns, the figure lags:
it describes the policies that played the window, and an environment in a long episode contributes older episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .experience import Rollout

EPISODES = 100
"""Minimum number of episodes in a window, once that many have ended."""
FIGURES = ("return", "length", "terminated", "success")
"""Values stored for each episode, besides its task."""


class EpisodeStatistics:
    """The last episodes of each of B environments, and the number of ended episodes by task, on ``device``.

    ``window``: number of episodes per environment; None: enough for `EPISODES` in total. A *terminated* episode ended
    with discount 0, not by a time limit; a *success* terminated on a positive reward, which is meaningful only for
    tasks with a goal (`Spec.success`).
    """

    def __init__(
        self, num_envs: int, num_tasks: int = 1, device: str | torch.device = "cpu", *, window: int | None = None
    ) -> None:
        self.device = torch.device(device)
        self.window = window or -(-EPISODES // num_envs)
        # Current episodes: return and length in steps, and their tasks.
        self._running = torch.zeros(2, num_envs, dtype=torch.float64, device=self.device)
        self._task = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        # Ended episodes: `FIGURES` and the task, newest first; and the number each environment has finished.
        shape = len(FIGURES) + 1, self.window, num_envs
        self._last = torch.zeros(shape, dtype=torch.float64, device=self.device)
        self._finished = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._since = torch.zeros(num_tasks, dtype=torch.int64, device=self.device)  # ended since the last drain
        self._valid_steps = torch.zeros((), dtype=torch.int64, device=self.device)

    @torch.no_grad()
    def update(self, rollout: Rollout) -> None:
        """Add the next rollout of the same environments."""
        valid, first, task = rollout.valid, rollout.first, rollout.task
        reward = rollout.reward.double()
        step = torch.stack([reward, torch.ones_like(reward)], dim=1)  # [T, 2, B]
        so_far = torch.empty_like(step)
        carry = self._running
        # Summed in order of time: bit-identical however the steps are divided into rollouts. The contribution of a
        # crossing row is discarded at the row after it, which is ``first``.
        for t in range(len(step)):
            carry = torch.add(carry.masked_fill(first[t], 0.0), step[t], out=so_far[t])
        self._running = carry.clone()
        self._task = task[-1].clone()
        self._valid_steps += valid.sum()

        returns, length = so_far.unbind(1)  # [T, B]
        ended = rollout.last[1:] & valid
        terminated = ended & (rollout.discount == 0)
        success = terminated & (rollout.reward > 0)
        values = torch.stack([returns, length, *(x.double() for x in (terminated, success, task[:-1]))])
        self._last = _newest(values, ended, self._last)
        self._finished += ended.sum(0)
        self._since += (ended.unsqueeze(-1) & self._is_of(task[:-1])).sum((0, 1))

    def _is_of(self, task: Tensor) -> Tensor:
        """Return the one-hot mask [..., K] bool of ``task``."""
        return task.unsqueeze(-1) == torch.arange(len(self._since), device=self.device)

    def drain(self) -> dict[str, Tensor]:
        """Return the current figures, [1 + K] each, for all tasks together and then for each: ``episodes``, the number
        that ended since the last drain; ``pending``, the number of environments in their first episode; ``window``, the
        number of episodes in the means; the means, named as in `FIGURES`, and ``return_std``, NaN without episodes;
        ``return_min`` (inf without episodes) and ``return_max``. Also ``valid_steps``, a scalar, the total since the
        beginning. Does not synchronise with the host.
        """
        x, task = self._last[:-1], self._last[-1].long()  # [F, W, B], [W, B]
        there = torch.arange(self.window, device=self.device).unsqueeze(-1) < self._finished
        of_task = (self._is_of(task) & there.unsqueeze(-1)).movedim(-1, 0)
        mine = torch.cat([there.unsqueeze(0), of_task])  # [1 + K, W, B]
        count = mine.sum(1)  # [1 + K, B]
        # Equal weight for every environment, or for every one that played the task.
        weight = 1.0 / (count * (count > 0).sum(-1, keepdim=True)).unsqueeze(1).double()  # [1 + K, 1, B]

        def mean(of: Tensor) -> Tensor:
            total = torch.where(mine, of * weight, 0.0).flatten(1).sum(-1)
            return torch.where(count.any(-1), total, torch.nan)

        found = {name: mean(values) for name, values in zip(FIGURES, x, strict=True)}
        off = x[0] - found["return"].view(-1, 1, 1)
        found["return_std"] = mean(off.square()).sqrt()
        found["return_min"] = torch.where(mine, x[0], torch.inf).amin((1, 2))
        found["return_max"] = torch.where(mine, x[0], -torch.inf).amax((1, 2))
        waiting = self._finished == 0
        pending = (waiting.unsqueeze(-1) & self._is_of(self._task)).sum(0)
        found["episodes"] = torch.cat([self._since.sum(0, keepdim=True), self._since])
        found["pending"] = torch.cat([waiting.sum(0, keepdim=True), pending])
        found["window"] = count.sum(-1)
        found["valid_steps"] = self._valid_steps.clone()
        self._since = torch.zeros_like(self._since)
        return found

    def report(self, tasks: Sequence[str] = (), success: Sequence[bool] = ()) -> dict[str, float]:
        """Combine ``drain`` and ``summary`` with a single host synchronisation."""
        drained = self.drain()
        steps = drained.pop("valid_steps")
        table = torch.cat([*(v.double() for v in drained.values()), steps.double().view(1)]).cpu()
        columns = table[:-1].view(len(drained), -1)
        return summary(dict(zip([*drained, "valid_steps"], [*columns, table[-1]], strict=True)), tasks, success)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the complete state: current episodes, window, episodes ended since the last drain, and the total."""
        return {name: getattr(self, f"_{name}").clone() for name in STATE}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from ``state_dict``. An environment that starts a new episode (``first``) drops its old one."""
        for name in STATE:
            getattr(self, f"_{name}").copy_(state[name])


STATE = ("running", "task", "last", "finished", "since", "valid_steps")


def _newest(values: Tensor, ended: Tensor, before: Tensor) -> Tensor:
    """Return [F, W, B]: the last W episodes of each environment, newest first, from those that ``ended`` [T, B] with
    ``values`` [F, T, B], followed by those of ``before`` [F, W, B].
    """
    T, W = len(ended), before.shape[1]
    when = torch.where(ended, torch.arange(T, device=ended.device).unsqueeze(-1), -1)
    when = when.topk(min(T, W), 0).values  # latest first
    fresh = values.gather(1, when.clamp(min=0).expand(len(values), -1, -1))
    new = (when >= 0).sum(0)  # [B]
    rank = torch.arange(W, device=ended.device).unsqueeze(-1)  # [W, 1]
    source = torch.where(rank < new, rank, len(when) + rank - new)
    return torch.cat([fresh, before], 1).gather(1, source.expand(len(values), -1, -1))


def summary(drained: Mapping[str, Tensor], tasks: Sequence[str] = (), success: Sequence[bool] = ()) -> dict[str, float]:
    """Convert the result of ``drain`` to metrics: for all tasks together and, if there are several, for each
    ("NAME/TASK").

    Figures without episodes are omitted, and so are the means while an environment is in its first episode; in that
    case "environments_in_first_episode" gives the number of such environments. ``success`` gives the tasks that define
    it; it is omitted for the others, and from the totals unless every task defines it.
    """
    rows = {name: tensor.tolist() for name, tensor in drained.items() if name != "valid_steps"}
    metrics = {"valid_steps": float(drained["valid_steps"])}
    of_all = len(success) > 0 and all(success)
    metrics |= _figures({name: row[0] for name, row in rows.items()}, of_all, "")
    if len(tasks) > 1:
        for k, task in enumerate(tasks):
            defined = bool(success) and success[k]
            metrics |= _figures({name: row[k + 1] for name, row in rows.items()}, defined, f"/{task}")
    return metrics


def _figures(row: Mapping[str, float], success: bool, suffix: str) -> dict[str, float]:
    metrics = {f"episodes{suffix}": row["episodes"]}
    if row["pending"]:
        metrics[f"environments_in_first_episode{suffix}"] = row["pending"]
    elif row["window"]:
        metrics[f"window_episodes{suffix}"] = row["window"]
        metrics |= {f"episode_{k}{suffix}": row[k] for k in row if k.startswith("return")}
        metrics |= {f"episode_length{suffix}": row["length"], f"terminated{suffix}": row["terminated"]}
        metrics |= {f"success{suffix}": row["success"]} if success else {}
    return metrics
