"""Scores of an agent, with those of a random policy and of the environment's oracle for reference."""

from __future__ import annotations

from collections.abc import Callable

from ...envs import FAMILIES
from ...envs.options import NOTHING, PLAY
from ...envs.vector_env import VectorEnv, closing
from ..agent import Agent
from ..config.config import EVAL_LIMIT
from ..config.environment_options import environment_options
from .environments import environment_for, own_environment
from .evaluate import SEED, batch_size, evaluate
from .policies import Policy, agent_policy, oracle_policy, random_policy
from .scores import Recorded, Score


def evaluate_agent(
    agent: Agent,
    episodes: int = 100,
    *,
    env: str | None = None,
    greedy: bool = False,
    seed: int = SEED,
    play_references: bool = False,
    limit: int = EVAL_LIMIT,
    tell: Callable[[str], None] = lambda text: None,
    trust: bool = False,
) -> dict[str, Score]:
    """Score the agent and, for reference, a random policy and the environment's oracle.

    The references are those recorded for the environment or, with ``play_references``, are played on the same episodes
    as the agent. If none are recorded, the random policy is played and there is no oracle. ``tell`` receives a line
    that says which policy is playing. For ``trust`` see `environment_for`.
    """
    name = env or own_environment(agent)
    spec = agent.spec
    if env is not None:
        with closing(environment_for(agent, name)) as one:
            spec = one.spec
    num_envs = batch_size(episodes, len(spec.tasks))
    with closing(environment_for(agent, env, num_envs, seed, trust=trust)) as world:
        return _scores(agent, world, name, episodes, greedy, seed, play_references, limit, tell)


def _scores(
    agent: Agent,
    world: VectorEnv,
    name: str,
    episodes: int,
    greedy: bool,
    seed: int,
    play_references: bool,
    limit: int,
    tell: Callable[[str], None],
) -> dict[str, Score]:
    num_envs = world.num_envs
    options = environment_options(agent.config, name)
    changed = any(options.get(k, NOTHING[k]) != NOTHING[k] for k in PLAY)
    recorded = {} if play_references or changed else recorded_references(name, world.spec.tasks)
    policies: dict[str, Policy] = {"agent": agent_policy(agent.model, num_envs, seed=seed, greedy=greedy)}
    if "random" not in recorded:
        policies["random"] = random_policy(world.spec, seed)
    if play_references:
        policies["oracle"] = oracle_policy(world, name)
    scores: dict[str, Score] = {}
    for player, policy in policies.items():
        tell(f"{episodes} episodes of {name}: {player}")
        scores[player] = evaluate(policy, world, episodes, seed=seed, limit=limit)
    return scores | recorded


def recorded_references(name: str, tasks: tuple[str, ...]) -> dict[str, Recorded]:
    """Return the recorded scores of the "random" policy and of the "oracle", each if it was measured for every task."""
    family = FAMILIES.get(name.partition(":")[0])
    if family is None:
        return {}
    known = {task: family.references(task) for task in tasks}
    return {
        player: Recorded.mixture({task: Recorded(**scores[player]) for task, scores in known.items()})
        for player in ("random", "oracle")
        if known and all(player in scores for scores in known.values())
    }
