"""Reward streams: the components of reward that the learner sums, each with its own value head."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
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
from .normalisers import NORMALISERS, Moments, Normaliser

ADVANTAGES = 0.99
"""Factor by which each rollout scales the older moments of the advantage: a rollout without reward, among some that had
it, hardly changes the divisor, so that its noise is not scaled up."""

PRODUCT = "product"
"""Name of the stream of all intrinsic rewards multiplied."""


def stream_names(rewards: Iterable[str], combine: str) -> tuple[str, ...]:
    """Return the names of the streams, which are those of the value heads, of an agent with these intrinsic rewards."""
    rewards = tuple(rewards)
    return (EXTRINSIC, PRODUCT) if rewards and combine == "product" else (EXTRINSIC, *rewards)


class Stream(NamedTuple):
    """One summed component of reward."""

    name: str
    gamma: float
    weight: float = 1.0
    value_cost: float = 0.5
    episodic: bool = True

    @property
    def value_name(self) -> str:
        """Return the name of this stream's value loss among the learner's terms."""
        return "value" if self.name == EXTRINSIC else f"value/{self.name}"

    @property
    def encoder_share(self) -> float:
        """Return the fraction of the value loss's gradient that passes below the value head.

        An intrinsic value head predicts the return of the unweighted reward and is itself trained at full strength. The
        layers below it learn as though the head predicted the return of the weighted reward, which scales the gradient
        by the square of the weight.
        """
        return 1.0 if self.name == EXTRINSIC else min(1.0, self.weight**2)


class Rewarded(NamedTuple):
    """The rewards of a rollout."""

    reward: dict[str, Tensor]  # by stream [T, B], intrinsic ones normalised
    scored: dict[str, Scored]  # by intrinsic reward
    divisor: dict[str, Tensor]  # the normaliser's divisor, a scalar each
    finite: Tensor  # bool, a scalar: whether all rewards are finite


class Streams:
    """The extrinsic reward and the intrinsic rewards of non-zero weight: scored once per rollout, normalised, and
    turned into value targets and one advantage. Memories and filters are kept separately for each source of rollouts.
    """

    def __init__(
        self, config: LearnerConfig, extrinsic: float, rewards: Mapping[str, IntrinsicReward], device: torch.device
    ) -> None:
        self.config = config
        self.rewards = {name: module for name, module in rewards.items() if module.config.weight}
        self.all = [Stream(EXTRINSIC, config.gamma, extrinsic, config.value_cost)] if extrinsic else []
        configs = {name: module.config for name, module in self.rewards.items()}
        own = [Stream(k, c.gamma, c.weight, c.value_cost, c.episodic) for k, c in configs.items()]
        self.multiplied = config.combine == "product" and bool(own)
        if self.multiplied:
            own = [own[0]._replace(name=PRODUCT, weight=math.prod(stream.weight for stream in own))]
        self.all += own
        for name, module in self.rewards.items():
            if module.config.normalise not in NORMALISERS:
                known = ", ".join(NORMALISERS)
                raise ValueError(f"'{name}' has normalise {module.config.normalise!r}, which is not one of {known}.")
            if self.multiplied and len(self.rewards) > 1 and module.config.normalise == "standard":
                raise ValueError(
                    f"'{name}' is to be multiplied and has normalise 'standard', which makes many of its rewards "
                    "negative: the product of two negative ones would be a reward. Choose another normalise."
                )
            if self.multiplied and name != next(iter(self.rewards)) and module.config.normalise == "advantage":
                raise ValueError(
                    f"'{name}' is to be multiplied and has normalise 'advantage', which a product takes from its first "
                    f"reward, '{next(iter(self.rewards))}': give it to that one."
                )
        self.normalisers: dict[str, Normaliser] = {
            name: NORMALISERS[module.config.normalise](module.config.gamma).to(device)
            for name, module in self.rewards.items()
        }
        self.advantages = Moments(ADVANTAGES).to(device)
        self.warming: set[str] = set()  # rewards that only set statistics yet
        self.memories: dict[str, dict[str, State]] = {}  # by source, then "NAME" and "NAME/filter"
        self.next: dict[str, int] = {}  # by source, the expected sequence number
        self._loaded: dict[str, dict[str, State]] = {}

    @property
    def unpaid(self) -> set[str]:
        """Return the streams that are 0 because their reward, or a factor of theirs, still warms up."""
        return {PRODUCT} if self.multiplied and self.warming else self.warming

    @torch.no_grad()
    def score(self, rollout: Rollout, features: Features, steps: int, *, single: bool = False) -> Rewarded:
        """Score the rollout, normalise the rewards, and then update statistics. NonFiniteError for a reward that is not
        finite, where the host can tell (on a GPU the update is gated); ValueError for one of another shape or type.
        ``steps`` were made before this rollout: a reward that warms up for more than those is 0. ``single``: one update
        on the whole rollout follows, so that the graph of a context that has one is of use.
        """
        source = str(rollout.source)
        if self.next.get(source) != rollout.sequence:  # a gap in the sequence, or lost environments
            self.memories[source] = {}
            self._loaded.pop(source, None)
        finite = torch.ones((), dtype=torch.bool, device=rollout.reward.device)
        found = Rewarded({EXTRINSIC: rollout.reward}, {}, {}, finite)
        self.warming = {name for name, module in self.rewards.items() if steps < module.config.warmup_steps}
        for name, module in self.rewards.items():
            if name in self.warming:
                module.warm_up(rollout)
                nothing = torch.zeros_like(rollout.reward)
                found.reward[name], found.scored[name] = nothing, Scored(nothing)
                found.divisor[name] = torch.full_like(nothing[0, 0], torch.nan)
                continue
            memory = self._memory(source, name, partial(module.initial_state, rollout.reward.shape[1]), name)
            graph = single and module.keeps_graph
            with torch.set_grad_enabled(graph):
                scored = module.score(rollout, features, memory)
            scored = _checked(name, scored, rollout, graph=graph)
            finite &= scored.raw.isfinite().all()
            normaliser = self.normalisers[name]
            start = partial(normaliser.initial_state, scored.raw)
            before = self._memory(source, f"{name}/filter", start, name)
            reward, divisor, after = normaliser(scored.raw, rollout.valid, before)
            finite &= divisor.isfinite()
            found.reward[name], found.scored[name], found.divisor[name] = reward, scored, divisor
            self.memories[source] |= {
                name: _kept(name, scored.state, (*rollout, features.map)),
                f"{name}/filter": after,
            }
            module.observe(rollout, features, scored)
            if type(module).forward is IntrinsicReward.forward:  # it has no loss that could read the context
                found.scored[name] = scored._replace(context=())
        if self.multiplied:
            found.reward[PRODUCT] = torch.stack([found.reward.pop(name) for name in self.rewards]).prod(0)
        self.next[source] = rollout.sequence + 1
        return found

    def _memory(self, source: str, key: str, start: Callable[[], State], name: str) -> State:
        """Return the remembered state, in tensors of its own, or that of ``start`` if there is none. A checkpoint
        restores tensors without the types of their tree.
        """
        if key in self.memories[source]:
            return self.memories[source][key]
        loaded = self._loaded.get(source, {}).pop(key, None)
        fresh = start()
        return tree_map(torch.clone, fresh) if loaded is None else _like(name, fresh, loaded)

    def targets(
        self, stream: Stream, rollout: Rollout, reward: Tensor, value: Tensor, log_rho: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return V-trace's target and advantage [T, B] of one stream."""
        c = self.config
        valid, discount = rollout.valid, discounts(rollout, stream.gamma, c.timeout_terminates)
        if not stream.episodic:
            log_rho, reward, discount, valid = across_resets(log_rho, reward, valid, gamma=stream.gamma)
        return vtrace(log_rho, reward, discount, value, valid, rho_bar=c.rho_bar, c_bar=c.c_bar, lambda_=c.lambda_)

    def scaled(self, stream: Stream, advantage: Tensor, valid: Tensor, *, fresh: bool) -> tuple[Tensor, Tensor | None]:
        """Return the advantage [T, B] of one stream as its normaliser has it, and the divisor, None if there is none.
        That of a product is the first reward's, like its other settings. As long as a stream is not paid, its
        advantage, which is an error of its value, is left as it is.
        """
        if stream.name == EXTRINSIC or stream.name in self.unpaid:
            return advantage, None
        name = next(iter(self.rewards)) if self.multiplied else stream.name
        return self.normalisers[name].scaled(advantage, valid, fresh=fresh)

    def state_dict(self) -> dict[str, Any]:
        """Return memories and filters by source, with the expected sequence number of the next rollout."""
        return {
            source: {"next": torch.tensor(number), "states": self._loaded.get(source, {}) | self.memories[source]}
            for source, number in self.next.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``. ValueError for memories that are not those of the rewards here."""
        kept = {source: s for source, s in state.items() if isinstance(s, Mapping) and {"next", "states"} <= s.keys()}
        for name, module in self.rewards.items():
            for s in kept.values():
                if name in s["states"]:
                    leaf = next(_leaves(s["states"][name]), torch.zeros(0))
                    _like(name, module.initial_state(len(leaf) if leaf.dim() else 0), s["states"][name])
        self.next = {source: int(s["next"]) for source, s in kept.items() if s["next"].dtype == torch.int64}
        self.memories = {source: {} for source in self.next}
        self._loaded = {source: dict(kept[source]["states"]) for source in self.next}


def _leaves(state: State) -> Iterator[Tensor]:
    """Yield the tensors of a state."""
    if isinstance(state, Tensor):
        yield state
    else:
        for part in state.values() if isinstance(state, Mapping) else state:
            yield from _leaves(part)


def _like(name: str, fresh: State, loaded: State) -> State:
    """Return ``loaded`` in new tensors and in the types of ``fresh``. ValueError where they are built differently."""

    def copied(mine: Tensor, its: Tensor) -> Tensor:
        if (mine.shape, mine.dtype) != (its.shape, its.dtype):
            raise ValueError
        return torch.empty_like(mine, memory_format=torch.contiguous_format).copy_(its)

    try:
        return tree_map(copied, fresh, loaded)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ValueError(f"the memory of '{name}' in the checkpoint is not the one it has here now") from None


def _kept(name: str, state: State, lent: Iterable[Any]) -> State:
    """Return ``state`` without a graph, and copied where it lies in memory that is ``lent``: that of the rollout and,
    where acting's activations are kept, of the map.
    """
    parts = [part for part in lent if part is not None and not isinstance(part, int)]
    borrowed = {x.untyped_storage().data_ptr() for part in parts for x in _leaves(part)}

    def own(x: Tensor) -> Tensor:
        return x.detach().clone() if x.untyped_storage().data_ptr() in borrowed else x.detach()

    try:
        return tree_map(own, state)
    except TypeError:
        raise ValueError(f"'{name}' has to remember a tree of tensors, not {state!r}; () is nothing.") from None


def _checked(name: str, scored: Scored, rollout: Rollout, *, graph: bool) -> Scored:
    """Return ``scored`` with the reward set to 0 on rows that cross a reset, and without a graph, but for that of the
    context if it is to keep it. Raise an error for a wrong type, shape or non-finite value.
    """
    if not isinstance(scored, Scored):
        raise ValueError(f"'{name}' has to return Scored(raw, state, context) from score, not {type(scored).__name__}.")
    raw, like = scored.raw, rollout.reward
    if (raw.shape, raw.dtype) != (like.shape, like.dtype):
        kinds = f"{raw.dtype} {list(raw.shape)}, not {like.dtype} {list(like.shape)}"
        raise ValueError(f"'{name}' gives a reward of {kinds}: return one number per step and environment.")
    raw = torch.where(rollout.valid, raw.detach(), 0.0)
    if raw.device.type == "cpu" and not raw.isfinite().all():
        raise NonFiniteError(f"The reward of '{name}' became non-finite; the update was not made. Correct that reward.")
    try:
        return scored._replace(raw=raw, context=tree_map(lambda x: x if graph else x.detach(), scored.context))
    except TypeError:
        raise ValueError(f"'{name}' has to hand on a tree of tensors as context; () is nothing.") from None
