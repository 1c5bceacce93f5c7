"""Learning: the only ``backward()``. Rollout in, weights moved, metrics out (still on the device)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ..auxiliaries import AuxiliaryLoss, IntrinsicReward
from ..auxiliaries.base import Data
from ..auxiliaries.pooling import Metric, Pooled, over_updates
from ..auxiliaries.reduction import average, explained_variance, reduce
from ..auxiliaries.returns import across_resets, discounts, vtrace
from ..backbones import Features
from ..backbones.numerics import log_prob
from ..envs.experience import AgentState, Rollout
from ..envs.trees import State, tree_map
from ..envs.wrappers.rewards import shaped
from . import losses
from .diagnostics import effective_rank, encoder_shares
from .finite import NonFiniteError
from .learner_config import LearnerConfig
from .model import EXTRINSIC, ActorCritic, Output, heads_by_name
from .optim import RMSProp
from .plugins import Plugin, refuse_reserved, refuse_too_small
from .replay import Replay, cut
from .streams import Stream, value_name


class Learner:
    """Sums K reward streams and any auxiliary losses into one update of the model a rollout.

    ``on_policy``: the rollout was collected with the present weights, so log pi - log mu is 0 by definition and
    V-trace is the n-step return (A2C). ``total_steps`` ends the learning-rate schedule. The model has a value head for
    each stream, by name: extrinsic, then the intrinsic plugins. ``replay`` is for losses that read one.
    """

    def __init__(
        self,
        model: ActorCritic,
        config: LearnerConfig,
        total_steps: int,
        *,
        on_policy: bool = True,
        plugins: Mapping[str, Plugin] | None = None,
        replay: Replay | None = None,
    ) -> None:
        self.model, self.config, self.total_steps, self.on_policy = model, config, total_steps, on_policy
        self.plugins = dict(plugins or {})
        self.intrinsic = {k: p.module for k, p in self.plugins.items() if isinstance(p.module, IntrinsicReward)}
        self.streams = [Stream(EXTRINSIC, config.gamma)] + [
            Stream(k, self.plugins[k].gamma, self.plugins[k].weight, m.episodic) for k, m in self.intrinsic.items()
        ]
        refuse_reserved(self.plugins)
        self.replay = replay
        self.replaying = {k: p for k, p in self.plugins.items() if p.data == "sequence_replay"}
        for name, plugin in self.plugins.items():
            if plugin.data not in get_args(Data):
                raise ValueError(f"'{name}' reads '{plugin.data}', which is not one of {', '.join(get_args(Data))}.")
        if replay is None and any(p.data != "rollout" for p in self.plugins.values()):
            raise ValueError(f"{', '.join(k for k, p in self.plugins.items() if p.data != 'rollout')} need a replay.")
        streams = tuple(s.name for s in self.streams)
        if {*model.values} != {*streams}:
            raise ValueError(
                f"The model has value heads for {', '.join(model.values)}, and the reward streams are "
                f"{', '.join(streams)}: build it with streams={streams}."
            )
        self.optimizer = self._rmsprop(model.parameters())
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, plugin in self.plugins.items():
            if isinstance(plugin.module, AuxiliaryLoss):
                plugin.module.attach(model.encoder)
            plugin.module.to(model.device)
            trained = [p for p in plugin.module.parameters() if p.requires_grad]
            if trained:
                self.optimizers[name] = self._rmsprop(trained) if plugin.optimizer is None else plugin.optimizer
        self.weights = {"policy": 1.0, "entropy": config.entropy_cost}
        # At weight 0 a stream must not reach the agent at all, nor may its value loss.
        self.weights |= {value_name(s): config.value_cost if s.weight else 0.0 for s in self.streams}
        # A reward's own loss trains the reward at full strength; its weight is that of its stream.
        self.weights |= {k: 1.0 if k in self.intrinsic else p.weight for k, p in self.plugins.items()}
        self.memories: dict[str, State] = {}
        self._loaded: dict[str, State] = {}
        self.steps = 0
        self.updates = 0

    def _rmsprop(self, parameters: Iterable[nn.Parameter]) -> RMSProp:
        c = self.config
        return RMSProp(
            parameters, c.learning_rate, c.rms_decay, c.epsilon,
            epsilon_inside=c.epsilon_inside, initial_mean_square=c.initial_mean_square,
        )  # fmt: skip

    def step(self, rollout: Rollout, *, diagnose: bool = False) -> dict[str, Metric]:
        """One update. Raises NonFiniteError, naming the term, before any weight has changed (off the CPU the update is
        gated on the device instead, and the metric ``finite`` tells). ``diagnose``: also measure what each loss does to
        the encoder, which costs a backward pass a loss.
        """
        refuse_too_small(self.plugins, *rollout.action.shape)
        if self.replay is not None:
            self.replay.add(rollout)
        out = self.model.unroll(rollout)
        terms, metrics = self._losses(rollout, out)
        if terms.keys() != self.weights.keys():
            raise ValueError(f"Losses {sorted(terms)} do not match weights {sorted(self.weights)}.")
        reduced = {k: reduce(value, mask) for k, (value, mask) in terms.items()}
        weighted = {k: self.weights[k] * v for k, v in reduced.items() if self.weights[k]}  # 0 times NaN is no 0
        total = torch.stack(list(weighted.values())).sum()
        if diagnose and torch.isfinite(total):
            metrics |= encoder_shares(weighted, self.model.encoder.parameters())
            metrics["encoder/effective_rank"] = effective_rank(out.features.vector.flatten(0, 1))

        optimizers = (self.optimizer, *self.optimizers.values())
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norms = {"agent": nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)}
        for name in self.optimizers:
            plugin = self.plugins[name]
            # Without a gradient, at weight 0, the norm is a zero on the CPU.
            norms[name] = nn.utils.clip_grad_norm_(plugin.module.parameters(), plugin.max_grad_norm).to(total.device)
        finite = torch.isfinite(total) & torch.isfinite(torch.stack(list(norms.values()))).all()
        # Only our own kind of optimiser can be gated on the device: beside another one the host has to look.
        gate = finite if finite.device.type != "cpu" and all(isinstance(o, RMSProp) for o in optimizers) else None
        if gate is None and not finite:
            raise NonFiniteError(self._diagnose(reduced, norms))
        for own in (self.optimizer, *(o for k, o in self.optimizers.items() if self.plugins[k].optimizer is None)):
            own.param_groups[0]["lr"] = self.learning_rate  # a plugin's own optimizer keeps its own
        for optimizer in optimizers:
            if isinstance(optimizer, RMSProp):
                optimizer.step(gate=gate)
            else:
                optimizer.step()
        for plugin in self.plugins.values():
            plugin.module.after_update()
        self.steps += rollout.action.numel()
        self.updates += 1
        metrics |= {f"loss/{k}": v.detach() for k, v in reduced.items()}
        metrics |= {f"gradient_norm/{k}": v for k, v in norms.items()}
        metrics["finite"] = finite.float()
        return metrics

    @property
    def learning_rate(self) -> float:
        """Of the next update: linear to 0 at ``total_steps``."""
        left = 1.0 if self.config.constant_rate else max(0.0, 1 - self.steps / self.total_steps)
        return self.config.learning_rate * left

    def _losses(
        self, rollout: Rollout, out: Output
    ) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Metric]]:
        """Every term, unreduced with its mask, and what else is worth logging."""
        valid, logits = rollout.valid, out.logits[:-1]
        if self.on_policy:
            log_rho = torch.zeros_like(rollout.reward)
        else:
            log_rho = (
                log_prob(logits, rollout.action) - log_prob(rollout.logits, rollout.action)
            ).detach()
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        metrics: dict[str, Metric] = {}
        rewards = self._rewards(rollout, out)
        advantage = torch.zeros_like(rollout.reward)
        for stream in self.streams:
            value = out.value[stream.name]
            target, part = self._targets(stream, rollout, rewards[stream.name], value.detach(), log_rho)
            if stream.weight:  # 0 times NaN is no 0
                advantage = advantage + stream.weight * part
            # A stream that runs across resets bootstraps from the last observation of an episode when a rollout ends
            # there, so its value is learnt on the crossing rows too.
            mask = valid if stream.episodic else torch.ones_like(valid)
            terms[value_name(stream)] = losses.squared_error(value[:-1], target), mask
            prefix = f"{stream.name}/"
            metrics[prefix + "explained_variance"] = explained_variance(value[:-1].detach(), target, valid)
            metrics[prefix + "value"] = average(value[:-1], valid)
            metrics[prefix + "reward"] = average(rewards[stream.name], valid)
        terms["policy"] = losses.policy_gradient(logits, rollout.action, advantage), valid
        terms["entropy"] = losses.negative_entropy(logits), valid
        learnt, replayed = self._learnt(rollout), self._replayed() if self.replaying else None
        for name, plugin in self.plugins.items():
            terms[name] = self._auxiliary(name, plugin, (learnt, out.features), replayed)
            if isinstance(plugin.module, AuxiliaryLoss):
                for k, v in plugin.module.metrics.items():
                    metrics[f"{name}/{k}"] = v if isinstance(v, Pooled) else over_updates(v, sparse=True)
        metrics["entropy"] = average(-terms["entropy"][0], valid)
        metrics["advantage"] = average(advantage.abs(), valid)
        return terms, metrics

    def _auxiliary(
        self, name: str, plugin: Plugin, fresh: tuple[Rollout, Features], replayed: tuple[Rollout, Features] | None
    ) -> tuple[Tensor, Tensor]:
        """(value, mask) of a plugin's loss, on what it reads. At weight 0 nothing of it reaches the agent. ValueError
        for shapes that differ.
        """
        module, data = plugin.module, plugin.data
        if data == "transition_replay":
            assert isinstance(module, AuxiliaryLoss)
            assert self.replay is not None
            window = self._learnt(self.replay.windows(name, module.batch, module.length, skewed=module.skewed))
            with torch.set_grad_enabled(plugin.weight != 0):
                value, mask = module(window, None)
        else:
            rollout, features = replayed if data == "sequence_replay" and replayed is not None else fresh
            value, mask = module(rollout, features if plugin.weight else _detached(features))
        if value.shape != mask.shape:
            shapes = f"{list(value.shape)} and {list(mask.shape)}"
            raise ValueError(f"'{name}' gives a value and a mask of different shapes, {shapes}.")
        return value, mask

    def _replayed(self) -> tuple[Rollout, Features]:
        """One batch of unrolls from the replay, and their features, for all losses that read such."""
        assert self.replay is not None
        rollout, skip = self.replay.unrolls(), self.replay.config.burn_in
        with torch.set_grad_enabled(any(p.weight for p in self.replaying.values())):
            if skip:
                with torch.no_grad():
                    memory = self.model.unroll(cut(rollout, 0, skip - 1, rollout.state)).memory
                state = AgentState(memory, rollout.action[skip - 1], rollout.reward[skip - 1])
                rollout = cut(rollout, skip, len(rollout.action), state)
            features = self.model.unroll(rollout).features
        return self._learnt(rollout), features

    def _learnt(self, rollout: Rollout) -> Rollout:
        """With the reward that the learner makes of the environment's."""
        return rollout._replace(reward=shaped(rollout.reward, self.config.reward))

    @torch.no_grad()
    def _rewards(self, rollout: Rollout, out: Output) -> dict[str, Tensor]:
        """[T, B] of each stream. Bonus first, then statistics; the update comes after both."""
        rewards = {EXTRINSIC: shaped(rollout.reward, self.config.reward)}
        for name, module in self.intrinsic.items():
            state = self.memories.get(name)
            if state is None:
                state = module.initial_state(rollout.reward.shape[1])
                if name in self._loaded:
                    tree_map(Tensor.copy_, state, self._loaded.pop(name))
            raw, self.memories[name] = module.reward(rollout, out.features, state)
            module.observe(rollout, out.features, raw, self.memories[name])
            rewards[name] = raw
        return rewards

    def _targets(
        self, stream: Stream, rollout: Rollout, reward: Tensor, value: Tensor, log_rho: Tensor
    ) -> tuple[Tensor, Tensor]:
        """V-trace target and advantage of one stream."""
        c = self.config
        valid, discount = rollout.valid, discounts(rollout, stream.gamma, c.timeout_terminates)
        if not stream.episodic:
            log_rho, reward, discount, valid = across_resets(log_rho, reward, valid, gamma=stream.gamma)
        return vtrace(
            log_rho, reward, discount, value, valid, rho_bar=c.rho_bar, c_bar=c.c_bar, lambda_=c.vtrace_lambda
        )

    def _diagnose(self, reduced: dict[str, Tensor], norms: dict[str, Tensor]) -> str:
        """One sentence: which loss is not finite, or else which parameter's gradient."""
        bad = [f"loss '{k}'" for k, v in reduced.items() if self.weights[k] and not torch.isfinite(v)]
        if not bad:
            bad = [
                f"the gradient of '{name}'"
                for name, p in self.model.named_parameters()
                if p.grad is not None and not torch.isfinite(p.grad).all()
            ] or [f"the gradient of '{k}'" for k, v in norms.items() if not torch.isfinite(v)]
        return (
            f"{', '.join(bad[:3])} became non-finite at step {self.steps:,}; that update was not made. "
            "Lower --learning-rate or --max-grad-norm, or look at the rewards of this environment."
        )

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser slots, plugins and their memories, counters."""
        return {
            "model": self.model.state_dict(),
            "optimizer": {k: dict(self.optimizer.state[p]) for k, p in self.model.named_parameters()},
            "plugins": {k: p.module.state_dict() for k, p in self.plugins.items()},
            "optimizers": {k: o.state_dict()["state"] for k, o in self.optimizers.items()},
            "memories": self._loaded | self.memories,
            "steps": torch.tensor(self.steps),
            "updates": torch.tensor(self.updates),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``. ValueError, naming it, for a plugin that has other weights by now."""
        self.model.load_state_dict(heads_by_name(state["model"]))
        for name, p in self.model.named_parameters():
            slot = self.optimizer.state[p]
            slot["mean_square"].copy_(state["optimizer"][name]["mean_square"])
            slot["updates"] = state["optimizer"][name]["updates"]
        for name, plugin in self.plugins.items():
            try:
                plugin.module.load_state_dict(state["plugins"][name])
            except RuntimeError as error:
                what = str(error).splitlines()[-1].strip().rstrip(".")
                raise ValueError(f"the '{name}' of the checkpoint is not the one that is here now: {what}") from error
        for name, optimizer in self.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state["optimizers"][name], "param_groups": groups})
        self.memories, self._loaded = {}, dict(state["memories"])
        self.steps, self.updates = int(state["steps"]), int(state["updates"])


def _detached(features: Features) -> Features:
    """The same without a way back: what learns from them does not reach the agent."""
    parts = {k: tree_map(Tensor.detach, v) for k, v in features._asdict().items() if v is not None}
    return features._replace(**parts)
