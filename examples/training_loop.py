"""A custom training loop from the public Actor and Learner, without a run folder or logging.

python examples/training_loop.py --steps 200000
"""

import argparse

import torch

import morello
from morello.agents.actor import Actor
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.envs.statistics import EpisodeStatistics


def main() -> float:
    parser = argparse.ArgumentParser()
    parser.add_argument("--env", default="labyrinth:seekavoid_arena_01")
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--unroll", type=int, default=10)
    flags = parser.parse_args()

    torch.manual_seed(0)
    env = morello.make(flags.env, num_envs=flags.num_envs, seed=0, frame_size=(42, 42))
    model = ActorCritic(env.spec, torso="shallow")
    actor = Actor(env, model, flags.unroll, seed=0)
    learner = Learner(model, LearnerConfig(), flags.steps)
    statistics = EpisodeStatistics(flags.num_envs)

    mean = float("nan")
    while learner.steps < flags.steps:
        rollout = actor.collect()  # T + 1 rows of observations, T of actions and rewards, for B environments
        metrics = learner.step(rollout)  # one update
        statistics.update(rollout)
        if learner.updates % 100 == 0 or learner.steps >= flags.steps:
            report = statistics.report()
            mean = report.get("episode_return", mean)
            print(f"step {learner.steps:>9,}  return {mean:6.2f}  entropy {float(metrics['entropy']):.2f}")
    return mean


if __name__ == "__main__":
    main()
