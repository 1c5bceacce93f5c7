"""Measures random play and the oracle on each level: ``python -m morello.envs.labyrinth.oracle.scores [LEVEL ...]``.

Each environment plays one episode, so that short episodes are not counted more often than long ones. Results are
written to ``scores.json`` in this folder; ``levels.recorded_scores`` reads them.
"""

from __future__ import annotations

import json
import math
import sys

import torch
from torch import Tensor

from ..labyrinth import Labyrinth
from ..levels import LEVELS, SCORES
from .player import Oracle

EPISODES = {"random": 256, "oracle": 16}
SEED = 2026


def episode_returns(level: str, player: str, episodes: int, seed: int) -> Tensor:
    """Return the undiscounted returns [episodes] of "random" or "oracle"; environment i plays its first episode of
    ``seed``.
    """
    env = Labyrinth([level], episodes, seed=seed, frame_size=(1, 1))
    oracle = Oracle(env) if player == "oracle" else None
    generator = torch.Generator().manual_seed(seed)
    now = env.reset()
    returns, over = torch.zeros(episodes, dtype=torch.float64), torch.zeros(episodes, dtype=torch.bool)
    while not over.all():
        if oracle:
            action = oracle.act(now)
        else:
            action = torch.randint(env.spec.num_actions, (episodes,), generator=generator)
        now = env.step(action)
        returns += torch.where(over, 0, now.reward)
        over |= now.last
    env.close()
    return returns


def summary(returns: Tensor) -> dict[str, float | int]:
    """Return the mean, its 95 % interval (normal), and the number of episodes."""
    mean, count = returns.mean().item(), len(returns)
    half = 1.96 * returns.std().item() / math.sqrt(count)
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "episodes": count}


def main(levels: list[str]) -> None:
    """Measure ``levels`` (all, if none is given) and update the record."""
    record = json.loads(SCORES.read_text()) if SCORES.exists() else {}
    for level in levels or LEVELS:
        record[level] = {p: summary(episode_returns(level, p, n, SEED)) for p, n in EPISODES.items()}
        print(level, record[level], flush=True)
        SCORES.write_text(json.dumps({name: record[name] for name in LEVELS if name in record}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
