"""Random network distillation (Burda et al., "Exploration by random network distillation", 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from ...backbones import Features
from ...envs.experience import Rollout
from ..base import Scored
from .parts.distillation import Distilled, DistilledConfig


@dataclass(frozen=True)
class RNDConfig(DistilledConfig):
    """Random network distillation: the error of predicting a fixed random network's output."""


class RND(Distilled):
    """``mean (f'(o[t + 1]) - f(o[t + 1]))^2`` of whitened observations: f is fixed and random, f' learns it.

    Lifelong: what was seen often is predicted well. New noise stays unpredicted.
    """

    Config = RNDConfig
    paper = "error of predicting a fixed random network (RND, Burda et al. 2018)"
    over = "life"
    trains = "a predictor"

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Score T transitions by the error at o[t + 1]; the context keeps what is known of them."""
        with self.precision(rollout.reward.device):
            known = self.known(self.whitened({name: x[1:] for name, x in rollout.observation.items()}), rollout)
        return Scored(known.error, (), known)
