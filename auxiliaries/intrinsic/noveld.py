"""NovelD (Zhang et al., "NovelD: a simple yet effective exploration criterion", 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from msgspec import Meta
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State, tree_map
from ..base import Scored
from ..reduction import average
from .parts.distillation import Distilled, DistilledConfig
from .parts.keys import KeyConfig, Visits, first_visits


@dataclass(frozen=True)
class NovelDConfig(DistilledConfig):
    """NovelD: the rise of RND's error, where an observation is made for the first time in the episode."""

    alpha: Annotated[float, Meta(ge=0)] = 0.5
    """Share of the error at the observation left that is subtracted."""
    key: Literal["view", "cell"] = "view"
    """What a visit is told by: view (a hash of what the agent sees) or cell (the cell of the map it is in: privileged;
    the authors' code takes the whole grid, which is privileged too)."""
    key_side: Annotated[int, Meta(ge=1, le=256)] | None = None
    """Images are averaged down to at least this many pixels a side before they are compared; 1 is the mean of an
    image. By default it is 1 for colour images and 8 for grey ones."""
    key_levels: Annotated[int, Meta(ge=2, le=256)] | None = None
    """Levels of each channel that are told apart in them (default: 16 of colours, 8 of grey)."""
    size: Annotated[int, Meta(ge=1, le=2**16)] = 128
    """Number of random features."""
    episodic: bool = True
    """End this reward's return where an episode ends, as in the paper; otherwise it continues across resets."""


def rises(error: Float[Tensor, "N B"], fresh: Bool[Tensor, "T B"], alpha: float) -> Float[Tensor, "T B"]:
    """Compute ``max(e[t + 1] - alpha e[t], 0)`` where the observation arrived at is ``fresh``, and 0 elsewhere (Zhang
    et al. 2021, equations 2 and 3).
    """
    return torch.where(fresh, (error[1:] - alpha * error[:-1]).clamp(min=0), 0.0)


class NovelD(Distilled):
    """``max(e[t + 1] - alpha e[t], 0)`` on the first visit to o[t + 1] in its episode, e = |f'(o) - f(o)| of whitened
    observations: f is fixed and random, f' learns it by RND's loss.

    What pays is the border of what is known, and going to and fro across it pays once. New noise stays unpredicted and
    is never seen twice: it pays (1 - alpha) e in each step.

    The paper adds the bonus as it is, on a scale of features that is not that of these, and so the default here is to
    divide by the standard deviation of its return.
    """

    Config = NovelDConfig
    paper = "rise of RND's error at first visits in the episode (NovelD, Zhang et al. 2021)"
    over = "episode and life"
    trains = "a predictor"

    def __init__(self, config: NovelDConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config, spec, sizes)
        self.visits = Visits(KeyConfig(key=config.key, side=config.key_side, levels=config.key_levels), spec)
        self.needs = self.visits.needs

    def initial_state(self, batch: int) -> State:
        """Return memories of nothing: the keys of an episode."""
        return self.visits.initial_state(batch)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Score T transitions; the context keeps what is known of the observations arrived at."""
        number, memory = self.visits(rollout, state)
        with self.precision(rollout.reward.device):
            known = self.known(self.whitened(rollout.observation), rollout)
        error = (known.error.detach() * self.config.size).sqrt()
        fresh = number == 1
        bonus = rises(error, fresh, self.config.alpha)
        self.metrics = first_visits(number, rollout) | {
            "error": average(error[1:], rollout.valid),
            "paid": average((bonus > 0).float(), rollout.valid & fresh),
        }
        return Scored(bonus, memory, tree_map(lambda x: x[1:], known))
