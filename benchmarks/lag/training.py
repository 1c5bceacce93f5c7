"""Training with an artificial lag between the weights that act and those that learn."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from ...agents.actor import Actor
from ...agents.learner import Learner
from ...agents.learner_config import LearnerConfig
from ...agents.model import ActorCritic
from ...envs.experience import Rollout
from ...envs.statistics import EpisodeStatistics
from .cartpole import LIMIT, CartPole

ENVS, UNROLL, POINTS = 64, 4, 50
SINGLE = LearnerConfig(gamma=0.98, entropy_cost=0.01)
CLIPPED = replace(SINGLE, epochs=2, clip=0.2, lambda_=0.95, advantage="standardised", optimizer="adam", epsilon=1e-5)


class Estimator(NamedTuple):
    """Settings of the learner, and the learning rates to try. ``on_policy``: it takes stale rollouts for fresh ones."""

    about: str
    learner: LearnerConfig
    on_policy: bool
    rates: tuple[float, ...]


ESTIMATORS = {
    "vtrace": Estimator("V-trace, one update per rollout", SINGLE, False, (0.002, 0.005)),
    "uncorrected": Estimator("the same without importance ratios", SINGLE, True, (0.002, 0.005)),
    "ppo": Estimator("two clipped passes over advantages of V-trace", CLIPPED, False, (0.001,)),
}


@dataclass(frozen=True)
class Case:
    """One run: an estimator at one learning rate, acting with the weights of ``lag`` rollouts ago."""

    estimator: str
    lag: int
    rate: float
    seed: int
    steps: int

    @property
    def name(self) -> str:
        """Return a name for files."""
        return f"{self.estimator}-lag{self.lag}-rate{self.rate:g}-seed{self.seed}-steps{self.steps}"


class Lagged:
    """A learner, and an actor with the learner's weights of ``lag`` calls ago, at first the initial ones."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(case.seed)
        estimator, env = ESTIMATORS[case.estimator], CartPole(ENVS, case.seed)
        self.model = ActorCritic(env.spec)
        self.acting = copy.deepcopy(self.model)
        self.actor = Actor(env, self.acting, UNROLL, case.seed)
        config = replace(estimator.learner, learning_rate=case.rate)
        self.learner = Learner(self.model, config, case.steps, on_policy=estimator.on_policy, seed=case.seed)
        self._past: deque[dict[str, torch.Tensor]] = deque(maxlen=case.lag + 1)

    def step(self) -> Rollout:
        """Collect a rollout with the old weights, learn from it, and return it."""
        self._past.append({k: v.clone() for k, v in self.model.state_dict().items()})
        self.acting.load_state_dict(self._past[0])
        rollout = self.actor.collect()
        self.learner.step(rollout)
        return rollout


def train(case: Case) -> dict[str, Any]:
    """Return the curve of a run, and the final return: that of the learnt weights, not of those that last acted.

    A point of the curve is the mean of the last episode of each environment.
    """
    lagged, statistics = Lagged(case), EpisodeStatistics(ENVS, window=1)
    steps: list[int] = []
    returns: list[float | None] = []
    while lagged.learner.steps < case.steps:
        statistics.update(lagged.step())
        if lagged.learner.steps * POINTS >= case.steps * (len(steps) + 1):
            steps.append(lagged.learner.steps)
            returns.append(statistics.report().get("episode_return"))
    return {"step": steps, "episode_return": returns, "final": evaluated(lagged.model, case.seed)}


def evaluated(model: ActorCritic, seed: int) -> float:
    """Return the mean return of one episode in each of `ENVS` environments, with actions sampled from the policy."""
    rollout = Actor(CartPole(ENVS, seed + 1), model, LIMIT, seed + 1).collect()
    within = rollout.last[:-1].cumsum(0) == 0
    return float(torch.where(within, rollout.reward, 0.0).sum(0).mean())
