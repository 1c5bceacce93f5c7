"""Reward streams: the components of reward that the learner sums, each with its own value head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..auxiliaries import IntrinsicReward, Scored
from ..auxiliaries.returns import across_resets, discounts, vtrace
from ..backbones import Features
from ..envs.experience import Rollout
from ..envs.trees import State, tree_map
from .finite import NonFiniteError
from .learner_config import LearnerConfig
from .model import EXTRINSIC
from .normalisers import NORMALISERS, Normaliser


class Stream(NamedTuple):
    """One summed component of reward."""

    name: str
    gamma: float
    weight: float = 1.0
    value_cost: float = 0.5
    episodic: bool = True

    @property
    def value_name(self) -> str:
        """The name of its value loss among the learner's terms."""
        return "value" if self.name == EXTRINSIC else f"value/{self.name}"

    @property
    def encoder_share(self) -> float:
        """How much of the value loss's gradient passes below the value head. An intrinsic head predicts the return of
        the unweighted reward, for its own sake at full strength; what is below it learns as though the head predicted
        that of the weighted reward, which scales its gradient by the square of the weight.
        """
        return 1.0 if self.name == EXTRINSIC else min(1.0, self.weight**2)


class Rewarded(NamedTuple):
    """The rewards of a rollout."""

    reward: dict[str, Tensor]  # by stream [T, B], intrinsic ones normalised
    scored: dict[str, Scored]  # by intrinsic reward
    divisor: dict[str, Tensor]  # what the normaliser divided by, a scalar each
    finite: Tensor  # bool, a scalar: whether all of them are


class Streams:
    """The extrinsic reward and the intrinsic ones whose weight is not 0: scored once a rollout, normalised, and turned
    into targets and one advantage. Memories and filters are kept for each source of rollouts.
    """

    def __init__(
        self, config: LearnerConfig, extrinsic: float, rewards: Mapping[str, IntrinsicReward], device: torch.device
    ) -> None:
        self.config = config
        self.rewards = {name: module for name, module in rewards.items() if module.config.weight}
        self.all = [Stream(EXTRINSIC, config.gamma, extrinsic, config.value_cost)] if extrinsic else []
        for name, module in self.rewards.items():
            c = module.config
            self.all.append(Stream(name, c.gamma, c.weight, c.value_cost, c.episodic))
        self.normalisers: dict[str, Normaliser] = {
            name: NORMALISERS[module.config.normalise](module.config.gamma).to(device)
            for name, module in self.rewards.items()
        }
        self.memories: dict[str, dict[str, State]] = {}  # by source, then "NAME" and "NAME/filter"
        self.next: dict[str, int] = {}  # by source, the sequence number that is to follow
        self._loaded: dict[str, dict[str, State]] = {}

    @torch.no_grad()
    def score(self, rollout: Rollout, features: Features) -> Rewarded:
        """Score the rollout, normalise, and then let statistics take it in. NonFiniteError for a reward that is not
        finite, where the host can tell (on a GPU the update is gated); ValueError for one of another shape or type.
        """
        source = str(rollout.source)
        if self.next.get(source) != rollout.sequence:  # a gap, or environments that were lost
            self.memories[source] = {}
            self._loaded.pop(source, None)
        self.next[source] = rollout.sequence + 1
        finite = torch.ones((), dtype=torch.bool, device=rollout.reward.device)
        found = Rewarded({EXTRINSIC: rollout.reward}, {}, {}, finite)
        for name, module in self.rewards.items():
            memory = self._memory(source, name, module.initial_state(rollout.reward.shape[1]))
            scored = _checked(name, module.score(rollout, features, memory), rollout)
            finite &= scored.raw.isfinite().all()
            normaliser = self.normalisers[name]
            before = self._memory(source, f"{name}/filter", normaliser.initial_state(scored.raw))
            reward, divisor, after = normaliser(scored.raw, rollout.valid, before)
            found.reward[name], found.scored[name], found.divisor[name] = reward, scored, divisor
            self.memories[source] |= {name: scored.state, f"{name}/filter": after}
            module.observe(rollout, features, scored)
        return found

    def _memory(self, source: str, name: str, fresh: State) -> State:
        """What is remembered, which a checkpoint gives back as tensors without the types of their tree."""
        if name in self._loaded.get(source, {}):
            tree_map(Tensor.copy_, fresh, self._loaded[source].pop(name))
            return fresh
        return self.memories[source].get(name, fresh)

    def targets(
        self, stream: Stream, rollout: Rollout, reward: Tensor, value: Tensor, log_rho: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return V-trace's target and advantage [T, B] of one stream."""
        c = self.config
        valid, discount = rollout.valid, discounts(rollout, stream.gamma, c.timeout_terminates)
        if not stream.episodic:
            log_rho, reward, discount, valid = across_resets(log_rho, reward, valid, gamma=stream.gamma)
        return vtrace(
            log_rho, reward, discount, value, valid, rho_bar=c.rho_bar, c_bar=c.c_bar, lambda_=c.vtrace_lambda
        )

    def state_dict(self) -> dict[str, Any]:
        """Return memories and filters by source, with the number of the rollout that is to follow."""
        return {
            source: {"next": torch.tensor(number), "states": self._loaded.get(source, {}) | self.memories[source]}
            for source, number in self.next.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``."""
        kept = {source: s for source, s in state.items() if isinstance(s, Mapping) and {"next", "states"} <= s.keys()}
        self.next = {source: int(s["next"]) for source, s in kept.items()}
        self.memories = {source: {} for source in kept}
        self._loaded = {source: dict(s["states"]) for source, s in kept.items()}


def _checked(name: str, scored: Scored, rollout: Rollout) -> Scored:
    """``scored`` with nothing where a row crosses a reset."""
    if not isinstance(scored, Scored):
        raise ValueError(f"'{name}' has to return Scored(raw, state, context) from score, not {type(scored).__name__}.")
    raw, like = scored.raw, rollout.reward
    if (raw.shape, raw.dtype) != (like.shape, like.dtype):
        kinds = f"{raw.dtype} {list(raw.shape)}, not {like.dtype} {list(like.shape)}"
        raise ValueError(f"'{name}' gives a reward of {kinds}: return one number a step and environment.")
    raw = torch.where(rollout.valid, raw, 0.0)
    if raw.device.type == "cpu" and not raw.isfinite().all():
        raise NonFiniteError(f"The reward of '{name}' became non-finite; the update was not made. Mend that reward.")
    return scored._replace(raw=raw)
