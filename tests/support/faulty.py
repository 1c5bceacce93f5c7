"""Faulty-v0 made, and played."""

import torch

from morello.envs.adapters.gymnasium import Gymnasium

from . import gymnasium_worlds  # noqa: F401 (registers)

CPU = torch.device("cpu")


def faulty(fault, restart_envs=False, **arguments):
    return Gymnasium("Faulty-v0", 3, CPU, 0, restart_envs=restart_envs, fault=fault, **arguments)


def play(env, steps):
    now, rows = env.reset(), []
    for _ in range(steps + 1):
        answers = {k: getattr(now, k).clone() for k in ("reward", "discount", "first", "last")}
        rows.append({"seen": now.observation["vector"].clone(), **answers})
        now = env.step(torch.zeros(env.num_envs, dtype=torch.int64))
    return rows
