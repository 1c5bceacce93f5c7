"""Evaluation during training: scores and a video, on which training does not depend."""

from __future__ import annotations

from collections.abc import Callable

from ...envs.vector_env import closing
from ..config.build import environment
from ..config.config import Config
from ..evaluation.evaluate import SEED, batch_size, evaluate
from ..evaluation.policies import agent_policy
from ..evaluation.scores import Evaluation
from ..model import ActorCritic
from ..video.drawing import Pixels


def score(config: Config, model: ActorCritic, tasks: int, step: int, check: Callable[[], None]) -> Evaluation:
    """Play episodes with the current policy in separate environments, seeded by the step. ``check`` is called before
    each step; an exception that it raises ends the evaluation.
    """
    num_envs = batch_size(config.eval_episodes, tasks, config.num_envs)
    with closing(environment(config, num_envs, config.seed + SEED)) as env:
        policy = agent_policy(model, num_envs, seed=step)
        return evaluate(policy, env, config.eval_episodes, limit=config.eval_limit, each_step=check)


def figures(result: Evaluation) -> dict[str, float]:
    """Return the scores as metrics."""
    low, high = result.interval
    success = {} if result.success is None else {"eval/success": result.success}
    return {"eval/return": result.mean, "eval/low": low, "eval/high": high, **success}


def film(config: Config, model: ActorCritic, check: Callable[[], None]) -> Pixels:
    """Film the beginning of an episode."""
    from ..video.film import clip

    with closing(environment(config, 1, config.seed + SEED)) as env:
        return clip(model, env, each_step=check)
