"""An intrinsic reward as a library: scores plain tensors, normalises, and trains its own networks."""

from __future__ import annotations

import copy
import dataclasses
import math
import zlib
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...auxiliaries import INTRINSIC_REWARDS, IntrinsicReward
from ...auxiliaries.pooling import value_of
from ...auxiliaries.reduction import reduce
from ...backbones import Features, Sizes
from ...envs.errors import UserError, suggest
from ...envs.experience import AgentState, Rollout, Spec
from ..config.load import MISFITS, in_short
from ..config.validation import validated
from ..finite import NonFiniteError
from ..learner_config import LearnerConfig
from ..optim import Adam
from ..streams import Streams
from .spaces import spec_of


class Unread(Features):
    """The agent's features, for rewards that do not read them: other trainers have none. UserError for the others."""

    def _read(self) -> Any:
        raise UserError("this reward reads the features of morello's agent, which other trainers do not have")

    vector = memory = logits = value = property(_read)


class Bonus:
    """One intrinsic reward with its normaliser, memories and optimiser, for rollouts of any trainer.

    Call it once for each rollout of T steps of B environments, in the order of collection, always with the same
    environments: it returns the reward to add to the trainer's own, and then learns from the rollout.
    """

    def __init__(self, name: str, module: IntrinsicReward, spec: Spec, device: str | torch.device = "cpu") -> None:
        self.name, self.spec, self.module = name, spec, module.to(device)
        self.device = torch.device(device)
        self.streams = Streams(LearnerConfig(), 0.0, {name: module}, self.device)
        trained = [p for p in module.parameters() if p.requires_grad]
        self.trained = trained
        self.optimizer = (module.optimizer(trained) or Adam(trained, module.config.learning_rate)) if trained else None
        self.steps = self.calls = 0
        self.action = torch.zeros(0, dtype=torch.int64, device=self.device)  # the latest of each environment
        self.metrics: dict[str, float] = {}
        """Figures of the latest rollout: the mean reward before normalising, its divisor, and the signal's own."""

    def __call__(
        self, observation: Any, action: Any, first: Any, reward: Any = None, info: Mapping[str, Any] | None = None
    ) -> Tensor:
        """Return the normalised reward [T, B] float32 of T steps, and learn from them.

        ``observation``: [T + 1, B, ...], or a dict of such; images are uint8 [..., H, W, C]. ``action`` [T, B].
        ``first`` [T + 1, B]: whether an episode begins with that observation; the step before is then no transition,
        and its reward is 0. ``reward`` [T, B], the trainer's own, for signals that read it. ``info`` [T + 1, B, ...]
        for privileged ones. UserError for what does not fit, after which everything is as it was before;
        NonFiniteError if the reward or the loss is not finite: then the networks are not updated.
        """
        rollout = self._rollout(observation, action, first, reward, info or {})
        T, B = rollout.action.shape
        for what, least, given in (
            ("steps in a call", self.module.length, T),
            ("environments", self.module.environments, B),
        ):
            if given < least:
                raise UserError(f"'{self.name}' needs at least {least} {what}, and there are {given}")
        nothing = rollout.reward.new_zeros(T + 1, B, 0)
        features = Unread(None, nothing, nothing, nothing, {})
        try:
            rewarded = self.streams.score(rollout, features, self.steps, single=self.optimizer is not None)
        except NonFiniteError:
            self.calls += 1  # the next call does not go on from what was remembered
            raise
        self.action = rollout.action[-1].clone()  # the caller may use its memory again
        self.steps += rollout.action.numel()
        self.calls += 1
        scored = rewarded.scored[self.name]
        if self.optimizer is not None and self.name not in self.streams.warming:
            with torch.enable_grad():
                loss = reduce(*self.module(rollout, features, scored))
            if not (rewarded.finite and loss.isfinite()):
                raise NonFiniteError(f"The reward or loss of '{self.name}' became non-finite; nothing was learnt.")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.trained, self.module.max_grad_norm)
            self.optimizer.step()
            self.module.after_update()
            self.metrics["loss"] = float(loss.detach())
        self.metrics["reward"] = float(reduce(scored.raw, rollout.valid))
        self.metrics["divisor"] = float(rewarded.divisor[self.name])
        own = {k: value_of(v) for k, v in self.module.metrics.items()}
        self.metrics |= {k: float(v) for k, v in own.items() if v.dim() == 0}
        return torch.where(rollout.valid, rewarded.reward[self.name], 0.0)

    def _rollout(self, observation: Any, action: Any, first: Any, reward: Any, info: Mapping[str, Any]) -> Rollout:
        if lacks := [*{*self.module.needs} - info.keys()]:
            raise UserError(f"'{self.name}' needs info={{'{lacks[0]}': ...}} [T + 1, B]")
        given = observation if isinstance(observation, Mapping) else {next(iter(self.spec.observation)): observation}
        seen = {}
        for name, (shape, dtype) in self.spec.observation.items():
            if name not in given:
                raise UserError(f"the reward looks at {name!r}; the observations are {', '.join(map(repr, given))}")
            x = self._tensor(name, given[name])
            if dtype == torch.uint8 and x.dtype != dtype:
                raise UserError(f"{name!r} has to be bytes from 0 to 255 (uint8), not {x.dtype}")
            seen[name] = x.to(dtype)
            if tuple(x.shape[2:]) != tuple(shape):
                raise UserError(f"{name!r} has to be [T + 1, B, *{list(shape)}], not {list(x.shape)}")
            if dtype.is_floating_point and not seen[name].isfinite().all():
                raise UserError(f"{name!r} has values that are not finite in {str(dtype).removeprefix('torch.')}")
        rows = next(iter(seen.values())).shape[:2]
        if odd := next((name for name, x in seen.items() if x.shape[:2] != rows), None):
            raise UserError(f"{odd!r} has {list(seen[odd].shape[:2])} rows and environments, others have {list(rows)}")
        T, B = rows[0] - 1, rows[1]
        if (known := len(self.action)) not in (0, B):
            raise UserError(f"there were {known} environments, and now there are {B}: build one reward each")
        taken, begins = self._tensor("action", action), self._tensor("first", first).bool()
        if T < 1 or taken.shape != (T, B) or begins.shape != rows:
            raise UserError(
                f"observations of {rows[0]} rows of {B} environments need action [{T}, {B}] and first [{T + 1}, {B}], "
                f"not {list(taken.shape)} and {list(begins.shape)}"
            )
        chosen, last = taken.long(), self.spec.num_actions - 1
        if (chosen != taken).any() or (chosen < 0).any() or (chosen > last).any():
            raise UserError(f"actions have to be whole numbers from 0 to {last}; those here go from {_range(taken)}")
        told = {k: self._tensor(k, v) for k, v in info.items()}
        for name, x in told.items():
            if x.shape[:2] != rows:
                raise UserError(f"{name!r} has to be [{T + 1}, {B}, ...], not {list(x.shape)}")
        zeros = torch.zeros(T, B, device=self.device)
        own = zeros if reward is None else self._tensor("reward", reward).float()
        if own.shape != (T, B) or not own.isfinite().all():
            raise UserError(f"'reward' has to be finite numbers [{T}, {B}]; those here are {list(own.shape)}")
        return Rollout(
            observation=seen,
            first=begins,
            last=torch.cat([begins[1:], begins.new_zeros(1, B)]),
            task=torch.zeros(rows, dtype=torch.int64, device=self.device),
            info=told,
            action=chosen,
            logits=zeros.new_zeros(T, B, self.spec.num_actions),
            reward=own,
            discount=torch.ones_like(zeros),
            skill=zeros.new_zeros(T + 1, B, 0),
            state=AgentState((), self.action if known else torch.full_like(chosen[0], -1), zeros[0]),
            sequence=self.calls,
        )

    def _tensor(self, name: str, values: Any) -> Tensor:
        try:
            found = torch.as_tensor(np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values)
        except (TypeError, ValueError, RuntimeError):
            raise UserError(f"{name!r} has to be a tensor or an array, not {type(values).__name__}") from None
        return found.to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on, in tensors of its own: weights, statistics, memories, optimiser
        and counters.
        """
        return copy.deepcopy(self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "normaliser": self.streams.normalisers[self.name].state_dict(),
            "memories": _plain(self.streams.state_dict()),
            "optimizer": self.optimizer.state_dict() if self.optimizer is not None else {},
            "steps": self.steps,
            "calls": self.calls,
            "action": self.action,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``, which may be that of a reward that goes on too. UserError where names or shapes
        differ, as those of another reward or of other spaces do; then everything is as it was before.
        """
        before = self.state_dict()
        try:
            self._load(copy.deepcopy(dict(state)))
        except MISFITS as error:
            self._load(before)
            why = in_short(error).rstrip(".")
            raise UserError(f"this is not a state of '{self.name}' with the settings and spaces here: {why}") from error

    def _load(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.streams.normalisers[self.name].load_state_dict(state["normaliser"])
        self.streams.load_state_dict(state["memories"])
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.calls, self.action = state["steps"], state["calls"], state["action"].to(self.device)


def _plain(state: Any) -> Any:
    """Return a tree of dicts, tuples and tensors, which `torch.load` reads without running code."""
    if isinstance(state, Mapping):
        return {k: _plain(v) for k, v in state.items()}
    return tuple(map(_plain, state)) if isinstance(state, tuple) else state


def _range(x: Tensor) -> str:
    return f"{x.min().item():g} to {x.max().item():g}"


def weight_of(weight: Any) -> float:
    """Return the weight of a reward in another trainer's. UserError unless it is a finite number, 0 or more."""
    if isinstance(weight, Real) and 0 <= float(weight) < math.inf:
        return float(weight)
    raise UserError(f"weight has to be a finite number, 0 or more, not {weight!r}")


def intrinsic(
    name: str,
    spec: Spec | tuple[Any, Any],
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    stacked: int = 1,
    **settings: Any,
) -> Bonus:
    """Build the intrinsic reward ``name`` (`morello list intrinsic`) for a trainer other than morello's.

    ``spec`` describes the environment: a `Spec`, or Gymnasium's observation space and action space of one environment,
    whose images hold ``stacked`` frames. ``settings`` are those of its flags, such as ``gamma=0.99,
    normalise="return"``. UserError for an unknown name, setting or device, or an environment that it does not fit.
    """
    if name not in INTRINSIC_REWARDS:
        raise UserError(f"Unknown intrinsic reward '{name}': {suggest(name, INTRINSIC_REWARDS)}")
    kind = INTRINSIC_REWARDS[name]
    fields = [f.name for f in dataclasses.fields(kind.Config) if f.name != "weight"]  # which is the trainer's
    for key in settings:
        if key not in fields:
            raise UserError(f"'{name}' has no setting '{key}': {suggest(key, fields)}")
    if not isinstance(spec, Spec):
        if not isinstance(spec, tuple) or len(spec) != 2:
            raise UserError("spec has to be (observation_space, action_space) of one environment")
        spec = spec_of(*spec, stacked)
    config = validated(dataclasses.replace(kind.Config(), weight=1.0, **settings))
    if config.normalise == "advantage":
        raise UserError("normalise='advantage' divides advantages, which other trainers do not show: take 'return'")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter: a PyTorch built without CUDA
        raise UserError(f"the device {str(device)!r} is not to be had here: {in_short(error)}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + zlib.crc32(name.encode()))
        try:
            module = kind(config, spec, Sizes(None, 0, 0))  # type: ignore[call-arg]
        except ValueError as error:
            said = str(error)
            raise UserError(said if said.startswith(name) else f"{name}: {said}") from error
    return Bonus(name, module, spec, device)
