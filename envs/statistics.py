"""What episodes came to: a fold over rollouts that never leaves the device.

An episode belongs to the row that ends it, and may have begun many rollouts before. The row that crosses a
reset belongs to no episode. Sums are float64: exact for whole-number rewards, whatever the order.

Means are over a window, the last episodes of each environment, and each environment counts alike. That is not a matter
of taste. The first episodes to end anywhere are short ones, and an environment with short episodes ends many, so a mean
over whatever has ended is a mean of what ends early. The episodes that one environment has finished by step n are
exchangeable, given how many they are; so the mean of its last ones has the expectation of its first episode, given that
this one is no longer than n steps. Hence, of a policy that does not learn:

- the figure that is reported first, once every environment has finished an episode, is unbiased if there is a record at
  every step (with few environments and records far apart it leans to short episodes, which leave time for more);
- at step n the expectation is that of an episode of at most n steps: exact from the longest episode on.

While an environment is still in its first episode there is no figure. Of a policy that learns, the figure lags behind:
it is of the policies that played the window, and an environment amid a long episode speaks through older ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .experience import Rollout

EPISODES = 100
"""In a window, at least, once there are so many."""
FIGURES = ("return", "length", "terminated", "success")
"""What is kept of an episode, besides its task."""


class EpisodeStatistics:
    """The last episodes of each of B environments, and how many ended, by task, on ``device``.

    ``window``: how many episodes of an environment; None: as many as make `EPISODES` of all. A *terminated* episode
    ended with discount 0, not by a time limit; a *success* terminated on a positive reward, which says something only
    of tasks that have a goal (`Spec.success`).
    """

    def __init__(
        self, num_envs: int, num_tasks: int = 1, device: str | torch.device = "cpu", *, window: int | None = None
    ) -> None:
        self.device = torch.device(device)
        self.window = window or -(-EPISODES // num_envs)
        # Of the episodes under way: return and length in steps; and the tasks they play.
        self._running = torch.zeros(2, num_envs, dtype=torch.float64, device=self.device)
        self._task = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        # Of those that ended: `FIGURES` and the task, the newest first; and how many each environment has finished.
        shape = len(FIGURES) + 1, self.window, num_envs
        self._last = torch.zeros(shape, dtype=torch.float64, device=self.device)
        self._finished = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._since = torch.zeros(num_tasks, dtype=torch.int64, device=self.device)  # ended since the last drain
        self._valid_steps = torch.zeros((), dtype=torch.int64, device=self.device)

    @torch.no_grad()
    def update(self, rollout: Rollout) -> None:
        """Take in the next rollout of the same environments."""
        valid, first, task = rollout.valid, rollout.first, rollout.task
        reward = rollout.reward.double()
        step = torch.stack([reward, torch.ones_like(reward)], dim=1)  # [T, 2, B]
        so_far = torch.empty_like(step)
        carry = self._running
        # Added up in the order it came: the same to the last bit however the steps are cut into rollouts. What a
        # crossing row adds is gone at the row after it, which is ``first``.
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
        """[..., K] bool."""
        return task.unsqueeze(-1) == torch.arange(len(self._since), device=self.device)

    def drain(self) -> dict[str, Tensor]:
        """What is known now, [1 + K] each, of all tasks and then of each: ``episodes`` that ended since the last drain;
        ``pending``, how many environments are in their first episode; ``window``, how many episodes the means are over;
        the means, named as in `FIGURES`, and ``return_std``, NaN of no episodes; ``return_min`` (inf of none) and
        ``return_max``. And ``valid_steps``, a scalar, the total since the beginning. Nothing is read by the host here.
        """
        x, task = self._last[:-1], self._last[-1].long()  # [F, W, B], [W, B]
        there = torch.arange(self.window, device=self.device).unsqueeze(-1) < self._finished
        of_task = (self._is_of(task) & there.unsqueeze(-1)).movedim(-1, 0)
        mine = torch.cat([there.unsqueeze(0), of_task])  # [1 + K, W, B]
        count = mine.sum(1)  # [1 + K, B]
        # Every environment counts alike; of a task, every one that played it.
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
        """``drain`` and ``summary`` in one: the host waits once."""
        drained = self.drain()
        steps = drained.pop("valid_steps")
        table = torch.cat([*(v.double() for v in drained.values()), steps.double().view(1)]).cpu()
        columns = table[:-1].view(len(drained), -1)
        return summary(dict(zip([*drained, "valid_steps"], [*columns, table[-1]], strict=True)), tasks, success)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything: episodes under way, the window, what has ended since the last drain, the total."""
        return {name: getattr(self, f"_{name}").clone() for name in STATE}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from ``state_dict``. An environment that begins anew instead (``first``) drops its episode."""
        for name in STATE:
            getattr(self, f"_{name}").copy_(state[name])


STATE = ("running", "task", "last", "finished", "since", "valid_steps")


def _newest(values: Tensor, ended: Tensor, before: Tensor) -> Tensor:
    """[F, W, B]: of each environment the last W episodes, the newest first, of those that ``ended`` [T, B] with
    ``values`` [F, T, B], and then those of ``before`` [F, W, B].
    """
    T, W = len(ended), before.shape[1]
    when = torch.where(ended, torch.arange(T, device=ended.device).unsqueeze(-1), -1)
    when = when.topk(min(T, W), 0).values  # the latest first
    fresh = values.gather(1, when.clamp(min=0).expand(len(values), -1, -1))
    new = (when >= 0).sum(0)  # [B]
    rank = torch.arange(W, device=ended.device).unsqueeze(-1)  # [W, 1]
    source = torch.where(rank < new, rank, len(when) + rank - new)
    return torch.cat([fresh, before], 1).gather(1, source.expand(len(values), -1, -1))


def summary(
    drained: Mapping[str, Tensor], tasks: Sequence[str] = (), success: Sequence[bool] = ()
) -> dict[str, float]:
    """What ``drain`` gave, as metrics: of all tasks and, if there are several, of each ("NAME/TASK").

    What is of no episodes is left out, and so are the means while an environment is in its first episode: then
    "environments_in_first_episode" says how many are. ``success`` says which tasks define it; it is left out of the
    others, and of all where not every task does.
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
