"""The intrinsic rewards that a filmed agent would be paid, as its run left them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...auxiliaries import IntrinsicReward
from ...backbones import Features
from ...envs.errors import UserError
from ...envs.experience import AgentState, Rollout, Timestep
from ...envs.trees import State, tree_map
from ...envs.wrappers.rewards import shaped
from ..agent import Agent
from ..config.load import MISFITS, in_short
from ..config.saved import from_saved
from ..learner_config import LearnerConfig
from ..normalisers import NORMALISERS, Normaliser
from ..streams import PRODUCT
from .restored import restored, settings_of, weights_of


class Seen(NamedTuple):
    """One row of an episode, and what the agent made of it."""

    timestep: Timestep
    features: Features  # T = 1
    action: Tensor  # [B], taken here
    preceding: Tensor  # [B], the action before; -1: none


class Bonuses:
    """Scores the steps of B environments one by one, as training would have at the end of the run, and learns nothing
    from them: episodic memories go on, while networks, lifelong counts and normalisers stay as they were.

    ``normalisers``: one by reward. ``product``: they are one stream. ``how``: the
    transformation of the environment's rewards, which some rewards read.
    """

    def __init__(
        self,
        rewards: Mapping[str, IntrinsicReward],
        normalisers: Mapping[str, Normaliser],
        *,
        product: bool = False,
        how: str = "raw",
    ) -> None:
        self.rewards, self.normalisers, self.product, self.how = dict(rewards), dict(normalisers), product, how
        self._before: Seen | None = None
        self._memory: dict[str, State] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the streams."""
        return (PRODUCT,) if self.product else tuple(self.rewards)

    @torch.no_grad()
    def __call__(self, timestep: Timestep, features: Features, action: Tensor) -> dict[str, Tensor]:
        """Return the normalised rewards [B] of the step that led to ``timestep``, by stream: 0 at the beginning of an
        episode. ``action`` is the one taken now. UserError for an environment that does not tell what a reward reads.
        """
        before = self._before
        preceding = torch.full_like(action, -1) if before is None else before.action
        self._before = Seen(timestep, features, action, preceding)
        if before is None:
            return {name: torch.zeros_like(timestep.reward) for name in self.names}
        rollout, both = self._rollout(before, timestep), _together(before.features, features)
        found = {}
        for name, module in self.rewards.items():
            if lacks := [*{*module.needs} - rollout.info.keys()]:
                said = f"the intrinsic reward '{name}' reads the '{lacks[0]}' of the agent"
                raise UserError(f"{said}, which this environment does not tell: film it in another")
            memory = self._memory.get(name)
            start = tree_map(torch.clone, module.initial_state(len(action))) if memory is None else memory
            scored = module.score(rollout, both, start)
            self._memory[name] = scored.state
            found[name] = torch.where(rollout.valid, self.normalisers[name].normalised(scored.raw), 0.0)[0]
        return {PRODUCT: torch.stack(list(found.values())).prod(0)} if self.product else found

    def _rollout(self, before: Seen, now: Timestep) -> Rollout:
        """Return the rollout of one step between two rows."""

        def rows(x: Tensor, y: Tensor) -> Tensor:
            return torch.stack([x, y])

        then = before.timestep
        return Rollout(
            observation={k: rows(v, now.observation[k]) for k, v in then.observation.items()},
            first=rows(then.first, now.first),
            last=rows(then.last, now.last),
            task=rows(then.task, now.task),
            info={k: rows(v, now.info[k]) for k, v in then.info.items()},
            action=before.action.unsqueeze(0),
            logits=before.features.logits,
            reward=shaped(now.reward, self.how).unsqueeze(0),
            discount=now.discount.unsqueeze(0),
            skill=now.reward.new_zeros(2, len(now.reward), 0),
            state=AgentState((), before.preceding, then.reward),
        )


def _together(a: Features, b: Features) -> Features:
    """Return the features of two rows, one each."""
    maps = None if a.map is None or b.map is None else torch.cat([a.map, b.map])
    value = {k: torch.cat([v, b.value[k]]) for k, v in a.value.items()}
    vector, memory, logits = (torch.cat([getattr(a, k), getattr(b, k)]) for k in ("vector", "memory", "logits"))
    return Features(maps, vector, memory, logits, value)


def restored_bonuses(agent: Agent, run: Path) -> Bonuses | None:
    """Return the intrinsic rewards that the agent of a run folder was paid, of those registered here; None if there
    are none. Those that still warmed up are left out, and a product if any of its factors is.
    """
    rewards, normalisers = {}, {}
    for name in settings_of(agent, "intrinsic"):
        module = restored("intrinsic", name, agent, run)
        assert isinstance(module, IntrinsicReward)
        if module.config.weight and agent.step >= module.config.warmup_steps:
            rewards[name], normalisers[name] = module, _normaliser(name, module, run)
    if not rewards:
        return None
    learner = from_saved(run, LearnerConfig, agent.config.get("learner"))
    paid = {name for name, own in agent.config["intrinsic"].items() if own.get("weight")}
    if learner.combine == "product" and paid - rewards.keys():
        return None
    return Bonuses(rewards, normalisers, product=learner.combine == "product", how=learner.reward)


def _normaliser(name: str, module: IntrinsicReward, run: Path) -> Normaliser:
    """Return the normaliser of a reward as the run left it."""
    normaliser = NORMALISERS[module.config.normalise](module.config.gamma)
    if normaliser.state_dict():
        try:
            normaliser.load_state_dict(weights_of(f"{name}/normaliser", run))
        except MISFITS as error:
            what = in_short(error).rstrip(".")
            raise UserError(f"the normaliser of '{name}' in {run} does not match the current one: {what}.") from error
    return normaliser
