"""An intrinsic reward as a library: scores plain tensors, normalises, and trains its own networks."""

from __future__ import annotations

import copy
import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...auxiliaries import INTRINSIC_REWARDS, IntrinsicReward
from ...auxiliaries.pooling import value_of
from ...auxiliaries.reduction import reduce
from ...backbones import Features, Sizes
from ...envs.errors import UserError, suggest
from ...envs.experience import AgentState, Rollout, Spec
from ..config.validation import validated
from ..finite import NonFiniteError
from ..learner_config import LearnerConfig
from ..optim import Adam
from ..plugins import refuse_too_small
from ..streams import Streams
from .spaces import spec_of


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
        self.metrics: dict[str, float] = {}
        """Figures of the latest rollout: the mean reward before normalising, its divisor, and the signal's own."""

    def __call__(
        self, observation: Any, action: Any, first: Any, reward: Any = None, info: Mapping[str, Any] | None = None
    ) -> Tensor:
        """Return the normalised reward [T, B] float32 of T steps, and learn from them.

        ``observation``: [T + 1, B, ...], or a dict of such; images are uint8 [..., H, W, C]. ``action`` [T, B].
        ``first`` [T + 1, B]: whether an episode begins with that observation; the step before is then no transition,
        and its reward is 0. ``reward`` [T, B], the trainer's own, for signals that read it. ``info`` [T + 1, B, ...]
        for privileged ones. UserError for shapes that do not fit.
        """
        rollout = self._rollout(observation, action, first, reward, info or {})
        T, B = rollout.action.shape
        try:
            refuse_too_small({self.name: self.module}, T, B)
        except ValueError as error:
            raise UserError(f"{error} (steps of a call)") from error
        nothing = rollout.reward.new_zeros(T + 1, B, 0)
        features = Features(None, nothing, nothing, nothing, {})
        rewarded = self.streams.score(rollout, features, self.steps)
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
        self.steps += rollout.action.numel()
        self.calls += 1
        return torch.where(rollout.valid, rewarded.reward[self.name], 0.0)

    def _rollout(self, observation: Any, action: Any, first: Any, reward: Any, info: Mapping[str, Any]) -> Rollout:
        if lacks := [*{*self.module.needs} - info.keys()]:
            raise UserError(f"'{self.name}' needs info={{'{lacks[0]}': ...}} [T + 1, B]")
        given = observation if isinstance(observation, Mapping) else {next(iter(self.spec.observation)): observation}
        seen = {}
        for name, (shape, dtype) in self.spec.observation.items():
            if name not in given:
                raise UserError(f"the reward looks at {name!r}; the observations are {', '.join(map(repr, given))}")
            x = torch.as_tensor(given[name])
            if dtype == torch.uint8 and x.dtype != dtype:
                raise UserError(f"{name!r} has to be bytes from 0 to 255 (uint8), not {x.dtype}")
            seen[name] = x.to(self.device, dtype)
            if tuple(seen[name].shape[2:]) != tuple(shape):
                raise UserError(f"{name!r} has to be [T + 1, B, *{list(shape)}], not {list(seen[name].shape)}")
        rows = next(iter(seen.values())).shape[:2]
        chosen = torch.as_tensor(action).to(self.device, torch.int64)
        begins = torch.as_tensor(first).to(self.device, torch.bool)
        T, B = rows[0] - 1, rows[1]
        if T < 1 or chosen.shape != (T, B) or begins.shape != rows:
            raise UserError(
                f"observations of {rows[0]} rows of {B} environments need action [{T}, {B}] and first [{T + 1}, {B}], "
                f"not {list(chosen.shape)} and {list(begins.shape)}"
            )
        zeros = torch.zeros(T, B, device=self.device)
        last = torch.cat([begins[1:], begins.new_zeros(1, B)])
        return Rollout(
            observation=seen,
            first=begins,
            last=last,
            task=torch.zeros(rows, dtype=torch.int64, device=self.device),
            info={k: torch.as_tensor(v).to(self.device) for k, v in info.items()},
            action=chosen,
            logits=zeros.new_zeros(T, B, self.spec.num_actions),
            reward=zeros if reward is None else torch.as_tensor(reward).to(self.device, torch.float32),
            discount=torch.ones_like(zeros),
            skill=zeros.new_zeros(T + 1, B, 0),
            state=AgentState((), torch.full((B,), -1, device=self.device), torch.zeros(B, device=self.device)),
            sequence=self.calls,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on: weights, statistics, memories, optimiser and counters."""
        return {
            "module": self.module.state_dict(),
            "normaliser": self.streams.normalisers[self.name].state_dict(),
            "memories": _plain(self.streams.state_dict()),
            "optimizer": self.optimizer.state_dict() if self.optimizer is not None else {},
            "steps": self.steps,
            "calls": self.calls,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``, which may be that of a reward that goes on too."""
        state = copy.deepcopy(dict(state))
        self.module.load_state_dict(state["module"])
        self.streams.normalisers[self.name].load_state_dict(state["normaliser"])
        self.streams.load_state_dict(state["memories"])
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.calls = state["steps"], state["calls"]


def _plain(state: Any) -> Any:
    """Return a tree of dicts, tuples and tensors, which `torch.load` reads without running code."""
    if isinstance(state, Mapping):
        return {k: _plain(v) for k, v in state.items()}
    return tuple(map(_plain, state)) if isinstance(state, tuple) else state


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
    normalise="return"``. UserError for an unknown name or setting, or an environment that it does not fit.
    """
    if name not in INTRINSIC_REWARDS:
        raise UserError(f"Unknown intrinsic reward '{name}': {suggest(name, INTRINSIC_REWARDS)}")
    kind = INTRINSIC_REWARDS[name]
    fields = [f.name for f in dataclasses.fields(kind.Config) if f.name != "weight"]  # which is the trainer's
    for key in settings:
        if key not in fields:
            raise UserError(f"'{name}' has no setting '{key}': {suggest(key, fields)}")
    shown = spec if isinstance(spec, Spec) else spec_of(*spec, stacked)
    config = validated(dataclasses.replace(kind.Config(), weight=1.0, **settings))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + zlib.crc32(name.encode()))
        try:
            module = kind(config, shown, Sizes(None, 0, 0))  # type: ignore[call-arg]
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
    return Bonus(name, module, shown, device)
