"""Learning: the only ``backward()``. A rollout goes in, the weights are updated, and metrics come out (still on the
device).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..auxiliaries import Auxiliary, AuxiliaryLoss, IntrinsicReward
from ..auxiliaries.pooling import Metric, Pooled, over_updates
from ..auxiliaries.reduction import average, explained_variance, reduce
from ..backbones import Features
from ..backbones.numerics import log_prob
from ..envs.experience import AgentState, Rollout
from ..envs.trees import tree_map
from ..envs.wrappers.rewards import shaped
from . import losses
from .diagnostics import effective_rank, encoder_shares
from .finite import NonFiniteError
from .learner_config import LearnerConfig
from .model import EXTRINSIC, ActorCritic, Output, heads_by_name
from .optim import Adam, RMSProp
from .plugins import refuse_odd, refuse_odd_loss, refuse_too_small
from .replay import Replay, cut
from .streams import Rewarded, Streams


class Learner:
    """Sums K reward streams and any auxiliary losses into one model update per rollout.

    ``on_policy``: the rollout was collected with the current weights, so log pi - log mu is 0 by definition and V-trace
    is the n-step return (A2C). ``total_steps`` is where the learning-rate schedule ends. The model has one value head
    per stream, by name: the extrinsic one, then the intrinsic ones of ``plugins``. ``replay`` serves losses that read a
    replay, and ``extrinsic`` is the weight of the environment's reward. Anything of weight 0 is skipped entirely,
    including its computation.
    """

    def __init__(
        self,
        model: ActorCritic,
        config: LearnerConfig,
        total_steps: int,
        *,
        on_policy: bool = True,
        plugins: Mapping[str, Auxiliary] | None = None,
        replay: Replay | None = None,
        extrinsic: float = 1.0,
    ) -> None:
        self.model, self.config, self.total_steps, self.on_policy = model, config, total_steps, on_policy
        self.plugins = dict(plugins or {})
        refuse_odd(self.plugins)
        intrinsic = {k: m for k, m in self.plugins.items() if isinstance(m, IntrinsicReward)}
        if {*model.values} != {EXTRINSIC, *intrinsic}:
            raise ValueError(
                f"The model has value heads for {', '.join(model.values)}, and the reward streams are "
                f"{', '.join((EXTRINSIC, *intrinsic))}: build it with streams={(EXTRINSIC, *intrinsic)}."
            )
        self.streams = Streams(config, extrinsic, intrinsic, model.device)
        self.losses = {k: m for k, m in self.plugins.items() if isinstance(m, AuxiliaryLoss) and m.config.weight}
        self.active: dict[str, Auxiliary] = {k: m for k, m in self.plugins.items() if m.config.weight}
        self.replay = replay
        self.replaying = any(m.data == "sequence_replay" for m in self.losses.values())
        reading = [k for k, m in self.losses.items() if m.data != "rollout"]
        if replay is None and reading:
            raise ValueError(f"{', '.join(reading)} need a replay.")
        self.optimizer = self._rmsprop(model.parameters())
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        heads = {k: list(model.values[k].parameters()) for k in intrinsic}
        apart = {id(p) for parameters in heads.values() for p in parameters}
        # Clipped separately, so that a large bonus does not shrink the gradient of the rest of the agent.
        self.clipped = {"agent": ([p for p in model.parameters() if id(p) not in apart], config.max_grad_norm)}
        self.clipped |= {f"value/{k}": (heads[k], config.max_grad_norm) for k in self.streams.rewards}
        for name, module in self.plugins.items():
            module.attach(model.encoder)
            module.to(model.device)
            trained = [p for p in module.parameters() if p.requires_grad]
            if trained:
                self.optimizers[name] = module.optimizer(trained) or self._own_optimizer(module, trained)
                if name in self.active:
                    self.clipped[name] = trained, module.max_grad_norm
        self.weights = {"policy": 1.0, "entropy": config.entropy_cost}
        self.weights |= {stream.value_name: stream.value_cost for stream in self.streams.all}
        # A reward's own loss trains the reward at full strength; its weight is that of its stream.
        self.weights |= {k: 1.0 if k in intrinsic else m.config.weight for k, m in self.active.items()}
        self.shares = {stream.name: stream.encoder_share for stream in self.streams.all}
        self.steps = 0
        self.updates = 0

    def _rmsprop(self, parameters: Iterable[nn.Parameter]) -> RMSProp:
        c = self.config
        return RMSProp(
            parameters,
            c.learning_rate,
            c.rms_decay,
            c.epsilon,
            epsilon_inside=c.epsilon_inside,
            initial_mean_square=c.initial_mean_square,
        )

    def _own_optimizer(self, module: Auxiliary, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        if isinstance(module, IntrinsicReward):
            return Adam(parameters, module.config.learning_rate)
        return self._rmsprop(parameters)

    def step(self, rollout: Rollout, *, diagnose: bool = False) -> dict[str, Metric]:
        """Make one update.

        Raises NonFiniteError, naming the term, before any weight has changed (on devices other than the CPU the update
        is gated on the device instead, and the metric ``finite`` reports it). ``diagnose``: also measure each loss's
        effect on the encoder, which costs one backward pass per loss.
        """
        refuse_too_small(self.active, *rollout.action.shape)
        if self.replay is not None:
            self.replay.add(rollout)
        out = self.model.unroll(rollout, self.shares)
        terms, metrics, sound = self._losses(rollout, out)
        if terms.keys() != self.weights.keys():
            raise ValueError(f"Losses {sorted(terms)} do not match weights {sorted(self.weights)}.")
        reduced = {k: reduce(value, mask) for k, (value, mask) in terms.items()}
        weighted = {k: self.weights[k] * v for k, v in reduced.items() if self.weights[k]}  # 0 times NaN is NaN, not 0
        total = torch.stack(list(weighted.values())).sum()
        if diagnose and torch.isfinite(total):
            metrics |= encoder_shares(weighted, self.model.encoder.parameters())
            metrics["encoder/effective_rank"] = effective_rank(out.features.vector.flatten(0, 1))

        optimizers = (self.optimizer, *self.optimizers.values())
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norms = {
            k: nn.utils.clip_grad_norm_(parameters, norm)
            for k, (parameters, norm) in self.clipped.items()
            if any(p.grad is not None for p in parameters)
        }
        finite = torch.isfinite(total) & torch.isfinite(torch.stack(list(norms.values()))).all() & sound
        # Only our own optimisers can be gated on the device: with any other the host has to check the value.
        gated = finite.device.type != "cpu" and all(isinstance(o, RMSProp | Adam) for o in optimizers)
        gate = finite if gated else None
        if gate is None and not finite:
            raise NonFiniteError(self._diagnose(reduced, norms))
        for own in (self.optimizer, *(self.optimizers[k] for k in self.losses if k in self.optimizers)):
            if isinstance(own, RMSProp):  # other optimisers, chosen by a loss, keep their own rate
                own.param_groups[0]["lr"] = self.learning_rate
        for optimizer in optimizers:
            if isinstance(optimizer, RMSProp | Adam):
                optimizer.step(gate=gate)
            else:
                optimizer.step()
        for module in self.active.values():
            module.after_update()
        self.steps += rollout.action.numel()
        self.updates += 1
        metrics |= {f"loss/{k}": v.detach() for k, v in reduced.items()}
        metrics |= {f"gradient_norm/{k}": v for k, v in norms.items()}
        metrics["finite"] = finite.float()
        return metrics

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the next update: it decays linearly to 0 at ``total_steps``."""
        left = 1.0 if self.config.constant_rate else max(0.0, 1 - self.steps / self.total_steps)
        return self.config.learning_rate * left

    def _losses(
        self, rollout: Rollout, out: Output
    ) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Metric], Tensor]:
        """Return every term, unreduced, with its mask; further metrics; and whether all rewards are finite."""
        valid, logits = rollout.valid, out.logits[:-1]
        if self.on_policy:
            log_rho = torch.zeros_like(rollout.reward)
        else:
            log_rho = (log_prob(logits, rollout.action) - log_prob(rollout.logits, rollout.action)).detach()
        learnt, seen = self._learnt(rollout), _detached(out.features)
        rewarded = self.streams.score(learnt, seen)
        terms, advantage, metrics = self._values(learnt, rewarded, out, log_rho)
        terms["policy"] = losses.policy_gradient(logits, rollout.action, advantage), valid
        terms["entropy"] = losses.negative_entropy(logits), valid
        for name, reward in self.streams.rewards.items():
            terms[name] = reward(learnt, seen, rewarded.scored[name])
        replayed = self._replayed() if self.replaying else None
        for name, loss in self.losses.items():
            terms[name] = self._auxiliary(name, loss, (learnt, out.features), replayed)
        for name, module in self.active.items():
            refuse_odd_loss(name, terms[name])
            for k, v in module.metrics.items():
                if f"{name}/{k}" in metrics:
                    raise ValueError(f"'{name}' logs '{k}', as the learner does for it: give that another name.")
                metrics[f"{name}/{k}"] = v if isinstance(v, Pooled) else over_updates(v, sparse=True)
        metrics["entropy"] = average(-terms["entropy"][0], valid)
        metrics["advantage"] = average(advantage.abs(), valid)
        return terms, metrics, rewarded.finite

    def _values(
        self, rollout: Rollout, rewarded: Rewarded, out: Output, log_rho: Tensor
    ) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor, dict[str, Metric]]:
        """Return the value loss of each stream, the sum of the streams' advantages [T, B], and metrics."""
        valid = rollout.valid
        terms: dict[str, tuple[Tensor, Tensor]] = {}
        metrics: dict[str, Metric] = {}
        advantage = torch.zeros_like(rollout.reward)
        for stream in self.streams.all:
            value = out.value[stream.name]
            reward = rewarded.reward[stream.name]
            target, part = self.streams.targets(stream, rollout, reward, value.detach(), log_rho)
            advantage = advantage + stream.weight * part
            # A stream that continues across resets bootstraps from the last observation of an episode if a rollout ends
            # there, so its value is trained on the crossing rows too.
            mask = valid if stream.episodic else torch.ones_like(valid)
            terms[stream.value_name] = losses.squared_error(value[:-1], target), mask
            metrics[f"{stream.name}/explained_variance"] = explained_variance(value[:-1].detach(), target, valid)
            metrics[f"{stream.name}/value"] = average(value[:-1], valid)
        metrics[f"{EXTRINSIC}/reward"] = average(rollout.reward, valid)
        for name, scored in rewarded.scored.items():
            metrics[f"{name}/reward"] = average(scored.raw, valid)
            metrics[f"{name}/divisor"] = rewarded.divisor[name]
        return terms, advantage, metrics

    def _auxiliary(
        self,
        name: str,
        module: AuxiliaryLoss,
        fresh: tuple[Rollout, Features],
        replayed: tuple[Rollout, Features] | None,
    ) -> tuple[Tensor, Tensor]:
        """Return (value, mask) of a loss, computed on the data that it reads."""
        if module.data == "transition_replay":
            assert self.replay is not None
            window = self._learnt(self.replay.windows(name, module.batch, module.length, skewed=module.skewed))
            found: tuple[Tensor, Tensor] = module(window, None)
        else:
            found = module(*(replayed if module.data == "sequence_replay" and replayed is not None else fresh))
        return found

    def _replayed(self) -> tuple[Rollout, Features]:
        """Sample one batch of unrolls from the replay and compute their features, shared by all losses on them."""
        assert self.replay is not None
        rollout, skip = self.replay.unrolls(), self.replay.config.burn_in
        if skip:
            with torch.no_grad():
                memory = self.model.unroll(cut(rollout, 0, skip - 1, rollout.state)).memory
            state = AgentState(memory, rollout.action[skip - 1], rollout.reward[skip - 1])
            rollout = cut(rollout, skip, len(rollout.action), state)
        features = self.model.unroll(rollout).features
        return self._learnt(rollout), features

    def _learnt(self, rollout: Rollout) -> Rollout:
        """Return the rollout with the extrinsic reward transformed as the settings ask."""
        return rollout._replace(reward=shaped(rollout.reward, self.config.reward))

    def _diagnose(self, reduced: dict[str, Tensor], norms: dict[str, Tensor]) -> str:
        """Return one sentence that names the first non-finite loss or, if all are finite, the parameter with a
        non-finite gradient.
        """
        bad = [f"loss '{k}'" for k, v in reduced.items() if self.weights[k] and not torch.isfinite(v)]
        if not bad:
            bad = (
                [
                    f"the gradient of '{name}'"
                    for name, p in self.model.named_parameters()
                    if p.grad is not None and not torch.isfinite(p.grad).all()
                ]
                or [f"the gradient of '{k}'" for k, v in norms.items() if not torch.isfinite(v)]
                or ["the divisor of an intrinsic reward"]
            )
        return (
            f"{', '.join(bad[:3])} became non-finite at step {self.steps:,}; that update was not made. "
            "Lower --learning-rate or --max-grad-norm, or look at the rewards of this environment."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimiser state, plugins and their memories, and counters."""
        return {
            "model": self.model.state_dict(),
            "optimizer": {k: dict(self.optimizer.state[p]) for k, p in self.model.named_parameters()},
            "plugins": {k: m.state_dict() for k, m in self.plugins.items()}
            | {f"{k}/normaliser": n.state_dict() for k, n in self.streams.normalisers.items()},
            "optimizers": {k: o.state_dict()["state"] for k, o in self.optimizers.items()},
            "memories": self.streams.state_dict(),
            "steps": torch.tensor(self.steps),
            "updates": torch.tensor(self.updates),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``. ValueError, naming the plugin, if its weights no longer match."""
        self.model.load_state_dict(heads_by_name(state["model"]))
        for name, p in self.model.named_parameters():
            slot = self.optimizer.state[p]
            slot["mean_square"].copy_(state["optimizer"][name]["mean_square"])
            slot["updates"] = state["optimizer"][name]["updates"]
        kept = self.plugins | {f"{k}/normaliser": n for k, n in self.streams.normalisers.items()}
        for name, module in kept.items():
            try:
                module.load_state_dict(state["plugins"][name])
            except RuntimeError as error:
                what = str(error).splitlines()[-1].strip().rstrip(".")
                raise ValueError(f"the '{name}' of the checkpoint does not match the current one: {what}") from error
        for name, optimizer in self.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state["optimizers"][name], "param_groups": groups})
        self.streams.load_state_dict(state["memories"])
        self.steps, self.updates = int(state["steps"]), int(state["updates"])


def _detached(features: Features) -> Features:
    """Return the same features without their gradient, so that whatever learns from them does not change the agent."""
    parts = {k: tree_map(Tensor.detach, v) for k, v in features._asdict().items() if v is not None}
    return features._replace(**parts)
