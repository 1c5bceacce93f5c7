"""Evaluation of any policy on whole episodes, outside training."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ...envs.errors import UserError
from ...envs.vector_env import VectorEnv
from ..config.config import EVAL_LIMIT
from .policies import Policy
from .scores import Evaluation

SEED = 1_000_003
"""Default seed of an evaluation's environments, far from the seeds commonly used for training."""


def batch_size(episodes: int, tasks: int = 1, limit: int = 64) -> int:
    """Return the number of environments in which to play ``episodes``: at most about ``limit``, with equally many for
    every task.
    """
    rounds = max(1, math.ceil(episodes / limit))
    return max(1, math.ceil(math.ceil(episodes / rounds) / tasks)) * tasks


@torch.no_grad()
def evaluate(
    policy: Policy,
    env: VectorEnv,
    episodes: int,
    *,
    seed: int | None = None,
    limit: int = EVAL_LIMIT,
    each_step: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Play at least ``episodes`` whole episodes in ``env``, which begins new episodes (with ``seed``).

    Each of the B environments plays the same number, ``episodes / B`` rounded up, and only those count: taking the
    first episodes to finish anywhere would favour short ones. An episode in which an environment broke and was replaced
    does not count. Raises UserError if episodes take more than ``limit`` steps on average, unless the environment has a
    longer limit of its own. ``each_step`` is called before each step; an exception that it raises ends the evaluation.
    """
    if episodes < 1:
        raise UserError(f"an evaluation plays at least 1 episode, not {episodes}")
    rounds = math.ceil(episodes / env.num_envs)
    timestep = env.reset(seed)
    device = timestep.reward.device
    columns = torch.arange(env.num_envs, device=device)
    count = torch.zeros_like(columns)
    running = torch.zeros(2, env.num_envs, dtype=torch.float64, device=device)  # return and length
    played = torch.zeros(5, rounds + 1, env.num_envs, dtype=torch.float64, device=device)  # last row: surplus
    broken = env.restarts
    max_steps = rounds * max(limit, (env.spec.max_steps or 0) + 1)
    for steps in range(1, max_steps + 1):
        each_step()
        timestep = env.step(policy(timestep))
        moved = ~timestep.first
        step = torch.stack([timestep.reward, torch.ones_like(timestep.reward)])
        running = torch.where(moved, running + step, 0.0)
        ended = timestep.last & moved
        if now := env.restarts:
            ended, broken = ended & torch.eq(torch.tensor(now), torch.tensor(broken)).to(device), now
        terminated = ended & (timestep.discount == 0)
        flags = terminated, terminated & (timestep.reward > 0), timestep.task
        row = torch.where(ended, count, rounds).clamp_(max=rounds)
        played[:, row, columns] = torch.stack([*running, *(x.double() for x in flags)])
        count += ended
        # The host waits for the device here. Rare checks suffice: surplus episodes are ignored.
        if (device.type == "cpu" or steps % 16 == 0) and bool((count >= rounds).all()):
            break
    else:
        done, wanted = int(count.clamp(max=rounds).sum()), rounds * env.num_envs
        raise UserError(
            f"only {done} of {wanted} episodes ended in {max_steps:,} steps of each environment: raise the limit of "
            f"{limit:,} steps an episode (--eval-limit of train, --limit of eval), or train with a --time-limit"
        )
    returns, lengths, over, success, task = played[:, :rounds].transpose(1, 2).flatten(1).cpu().numpy()
    return Evaluation(
        returns,
        lengths.astype(np.int64),
        over > 0,
        success > 0,
        task.astype(np.int64),
        env.spec.tasks,
        env.spec.success,
    )
