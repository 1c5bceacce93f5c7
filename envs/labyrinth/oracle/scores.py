"""Measures random play and the oracle on each level: ``python -m morello.envs.labyrinth.oracle.scores [LEVEL ...]``.

Each environment plays one episode, so that short episodes are not counted more often than long ones. For levels without
reward the squares of the floor that an episode visits are counted too, as by `wrappers.VisitCounts`. Results are
written to ``scores.json`` in this folder; ``levels.recorded_scores`` reads them.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import torch
from torch import Tensor

from ...experience import Timestep
from ...vector_env import closing
from ..levels import LEVELS, SCORES
from ..making import make_levels
from ..maps import plan

EPISODES = {"random": 256, "oracle": 16}
SEED = 2026


def play(level: str, player: str, episodes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the undiscounted returns [episodes] of "random" or "oracle", and the number of squares of the floor that
    each episode visited; environment i plays its first episode of ``seed``.
    """
    with closing(make_levels([level], episodes, seed=seed, frame_size=(1, 1))) as env:
        oracle = env.oracle() if player == "oracle" else None
        generator = torch.Generator().manual_seed(seed)
        now = env.reset()
        returns, over = torch.zeros(episodes, dtype=torch.float64), torch.zeros(episodes, dtype=torch.bool)
        visited = torch.zeros(episodes, env.num_cells or 0, dtype=torch.bool)
        visit(visited, now, over)
        while not over.all():
            if oracle:
                action = oracle(now)
            else:
                action = torch.randint(env.spec.num_actions, (episodes,), generator=generator)
            now = env.step(action)
            returns += torch.where(over, 0, now.reward)
            visit(visited, now, over)
            over |= now.last
    return returns, visited.sum(1)


def visit(visited: Tensor, now: Timestep, over: Tensor) -> None:
    """Mark the squares that the environments stand on in ``visited`` [B, cells], except where their episode is over."""
    cell = now.info["cell"][:, None]
    visited.scatter_(1, cell, visited.gather(1, cell) | ~over[:, None])


def episode_returns(level: str, player: str, episodes: int, seed: int) -> Tensor:
    """Return the returns of `play`."""
    return play(level, player, episodes, seed)[0]


def summary(returns: Tensor) -> dict[str, float | int]:
    """Return the mean, its 95 % interval (normal), and the number of episodes."""
    mean, count = returns.mean().item(), len(returns)
    half = 1.96 * returns.std().item() / math.sqrt(count)
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "episodes": count}


def measured(level: str) -> dict[str, Any]:
    """Return what is put on record about a level."""
    played = {player: play(level, player, episodes, SEED) for player, episodes in EPISODES.items()}
    scores: dict[str, Any] = {player: summary(returns) for player, (returns, _) in played.items()}
    if not (plan(LEVELS[level]).items or LEVELS[level].goal):
        scores["coverage"] = {player: summary(cells.double()) for player, (_, cells) in played.items()}
    return scores


def main(levels: list[str]) -> None:
    """Measure ``levels`` (all, if none is given) and update the record."""
    record = json.loads(SCORES.read_text()) if SCORES.exists() else {}
    for level in levels or LEVELS:
        record[level] = measured(level)
        print(level, record[level], flush=True)
        SCORES.write_text(json.dumps({name: record[name] for name in LEVELS if name in record}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
