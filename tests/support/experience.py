"""What environments and tasks give, row after row, at random: for statistics that are folds over rollouts."""

import torch

from morello.envs.experience import AgentState, Rollout

T, B, K = 53, 7, 3


def experience(seed, T=T, B=B, K=K):
    """[T + 1, B] rows as an environment would give them: crossings, terminations, time limits, lost lives."""
    rng = torch.Generator().manual_seed(seed)

    def chance(p):
        return torch.rand(T + 1, B, generator=rng) < p

    last = chance(0.2)
    last[0] = False
    for t in range(1, T + 1):
        last[t] &= ~last[t - 1]  # an episode has at least one transition here
    first = torch.zeros_like(last)
    first[0] = True
    first[1:] = last[:-1]
    task = torch.zeros(T + 1, B, dtype=torch.int64)
    task[0] = torch.randint(K, (B,), generator=rng)
    for t in range(1, T + 1):
        task[t] = torch.where(first[t], torch.randint(K, (B,), generator=rng), task[t - 1])
    reward = torch.where(chance(0.3)[:-1], 0.0, torch.randn(T, B, generator=rng) + 0.3)
    discount = torch.where(chance(0.5)[:-1], 0.0, 1.0)  # also 0 without last: a lost life
    reward[last[:-1]], discount[last[:-1]] = 0.0, 1.0
    return first, last, task, reward, discount


def rollout(first, last, task, reward, discount, rows=slice(None)):
    start, stop, _ = rows.indices(len(reward))
    more = slice(start, stop + 1)
    none = torch.zeros(0)
    state = AgentState((), none, none)
    return Rollout({}, first[more], last[more], task[more], {}, none, none, reward[rows], discount[rows], none, state)
