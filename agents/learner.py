"""Learning: the only ``backward()``. A rollout goes in, the weights are updated, and metrics come out (still on the
device).
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..auxiliaries import Auxiliary, AuxiliaryLoss, IntrinsicReward
from ..auxiliaries.generators import set_state
from ..auxiliaries.pooling import Metric, Pooled, merged, over_updates, value_of
from ..auxiliaries.reduction import average, reduce
from ..backbones import Features
from ..backbones.numerics import log_prob
from ..envs.experience import AgentState, Rollout
from ..envs.trees import State, tree_map
from ..envs.wrappers.rewards import shaped
from .batch import Batch, shape_of, shuffled
from .diagnostics import effective_rank, encoder_shares
from .finite import NonFiniteError
from .gradients import Gradients
from .learner_config import LearnerConfig
from .model import EXTRINSIC, ActorCritic, Output, heads_by_name
from .plugins import refuse_odd, refuse_odd_loss, refuse_too_small
from .policy import Terms, policy_terms, prepared, together
from .replay import UNROLLS, Replay, cut
from .streams import Streams, stream_names


class Learner:
    """Sums K reward streams and any auxiliary losses, and makes one or several updates of the model per rollout.

    A2C and V-trace make one update from the whole rollout; PPO makes ``config.epochs`` passes over it, in minibatches.
    ``on_policy``: the rollout was collected with the current weights, so log pi - log mu is 0 by definition and V-trace
    is the n-step return (A2C). ``total_steps`` is where the learning-rate schedule ends. The model has one value head
    per stream, by name: the extrinsic one, then the intrinsic ones of ``plugins``. ``replay`` serves losses that read a
    replay and, with ``replay.config.policy``, the policy itself; ``extrinsic`` is the weight of the environment's
    reward. Anything of weight 0 is skipped entirely, including its computation. ``seed`` is that of minibatches.
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
        seed: int = 0,
    ) -> None:
        self.model, self.config, self.total_steps, self.on_policy = model, config, total_steps, on_policy
        self.plugins = dict(plugins or {})
        refuse_odd(self.plugins)
        intrinsic = {k: m for k, m in self.plugins.items() if isinstance(m, IntrinsicReward)}
        streams = stream_names(intrinsic, config.combine)
        if {*model.values} != {*streams}:
            raise ValueError(
                f"The model has value heads for {', '.join(model.values)}, and the reward streams are "
                f"{', '.join(streams)}: build it with streams={streams}."
            )
        self.streams = Streams(config, extrinsic, intrinsic, model.device)
        self.losses = {k: m for k, m in self.plugins.items() if isinstance(m, AuxiliaryLoss) and m.config.weight}
        self.active: dict[str, Auxiliary] = {k: m for k, m in self.plugins.items() if m.config.weight}
        self.replay = replay
        self.replaying = {k for k, m in self.losses.items() if m.data != "rollout"}
        if replay is None and self.replaying:
            raise ValueError(f"{', '.join(sorted(self.replaying))} need a replay.")
        if replay is not None and replay.config.policy and config.epochs * config.minibatches > 1:
            raise ValueError("--replay.policy goes with one update per rollout: set --epochs and --minibatches to 1")
        paid = {stream.name for stream in self.streams.all} - {EXTRINSIC}
        if replay is not None and replay.config.policy and (lost := paid - replay.rewards):
            raise ValueError(f"The replay has no place for the reward of '{min(lost)}': its example lacks it.")
        for module in self.plugins.values():
            module.attach(model.encoder)
            module.to(model.device)
        self.gradients = Gradients(model, config, self.plugins, self.active)
        self.weights = {"policy": 1.0, "entropy": config.entropy_cost}
        self.weights |= {stream.value_name: stream.value_cost for stream in self.streams.all}
        # A reward's own loss trains the reward at full strength; its weight is that of its stream.
        self.weights |= {k: 1.0 if k in intrinsic else m.config.weight for k, m in self.active.items()}
        self.shares = {stream.name: stream.encoder_share for stream in self.streams.all}
        self.mapped = bool(self.active)  # only losses and rewards read the torso's map
        self.reads_rollout = self.active.keys() > self.replaying
        self.generator = torch.Generator(model.device).manual_seed(zlib.crc32(b"minibatches") + seed)
        self.steps = 0
        self.updates = 0
        self.intrinsic: dict[str, Tensor] = {}
        """Normalised intrinsic rewards [T, B] of the latest rollout, by stream, without those that still warm up."""

    def segments(self, T: int, B: int) -> tuple[int, int]:
        """Return the length of a segment and the least number of segments in a minibatch of a rollout [T, B].
        ValueError if the settings, or the smallest data that a plugin can learn from, do not fit it.
        """
        c, whole = self.config, self.reads_rollout or self.model.recurrent
        length, count = shape_of(T, B, segment=c.segment, minibatches=c.minibatches, whole=whole)
        fresh = {k: m for k, m in self.active.items() if k not in self.replaying}
        refuse_too_small(fresh, length, count, segments=length < T, minibatches=c.minibatches)
        refuse_too_small({k: m for k, m in self.active.items() if k in self.replaying}, T, B)
        return length, count

    def step(self, rollout: Rollout, *, diagnose: bool = False) -> dict[str, Metric]:
        """Make the updates of one rollout. Metrics are averages over them.

        Raises NonFiniteError, naming the term, before an update with a loss or gradient that is not finite; earlier
        updates from the same rollout remain. (On devices other than the CPU the update is gated on the device instead,
        and the metric ``finite`` reports it.)
        ``diagnose``: also measure each loss's effect on the encoder, which costs one backward pass per loss.
        """
        c, (T, B) = self.config, rollout.action.shape
        length, _ = self.segments(T, B)
        if c.final_entropy_cost is not None:
            self.weights["entropy"] = self.entropy_cost
        single = c.updates == 1 and length == T
        with torch.set_grad_enabled(single):
            out = self.model.unroll(rollout, self.shares, length, self.mapped)
        learnt = self._learnt(rollout)
        rewarded = self.streams.score(learnt, _detached(out.features), self.steps, single=single)
        rollout = rollout._replace(intrinsic={k: r for k, r in rewarded.reward.items() if k != EXTRINSIC})
        self.intrinsic = {k: r for k, r in rollout.intrinsic.items() if k not in self.streams.unpaid}
        if self.replay is not None:
            self.replay.add(rollout)
        log_rho = torch.zeros_like(rollout.reward) if self.on_policy else _log_rho(out, rollout)
        batch, metrics = prepared(rollout, out, self.streams, rewarded.reward, rewarded.scored, log_rho)
        metrics[f"{EXTRINSIC}/reward"] = average(learnt.reward, rollout.valid)
        for name, scored in rewarded.scored.items():
            metrics[f"{name}/reward"] = average(scored.raw, rollout.valid)
            metrics[f"{name}/divisor"] = rewarded.divisor[name]
        for name, reward in rollout.intrinsic.items():
            metrics[f"{name}/normalised"] = average(reward, rollout.valid)
        past = self._past() if self.replay is not None and self.replay.config.policy else None
        # Every valid row counts equally, in whichever minibatch it is.
        counts: dict[str, Tensor] = {}
        if c.minibatches > 1:
            counts = {k: mask.sum().clamp(min=1) / c.minibatches for k, mask in self._masks(batch).items()}
        within = torch.ones_like(rewarded.finite)
        found: list[dict[str, Metric]] = []
        for part, replays in self._parts(batch, out.starts, length):
            seen = out if single else self.model.unroll(part.rollout, self.shares, mapped=self.mapped)
            terms, more = policy_terms(part, seen, self.streams)
            if past is not None:
                terms = together(terms, policy_terms(*past, self.streams)[0])
            if c.target_kl is not None and found:
                within = within & ~(value_of(more["kl"]) > c.target_kl)  # NaN: no valid row here
                if not self.gradients.gated and not within:
                    found.append({"kl": more["kl"]})
                    break
            more |= self._plugged(terms, part, seen, replays, metrics)
            more |= self._update(terms, counts, rewarded.finite, within, seen if diagnose and not found else None)
            found.append(more)
        self.steps += rollout.action.numel()
        return metrics | merged(found)

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the next update: it decays linearly to 0 at ``total_steps``."""
        left = 1.0 if self.config.constant_rate else max(0.0, 1 - self.steps / self.total_steps)
        return self.config.learning_rate * left

    @property
    def entropy_cost(self) -> float:
        """Return the entropy cost of the next update: it moves linearly to its final value at ``total_steps``."""
        first, last = self.config.entropy_cost, self.config.final_entropy_cost
        return first if last is None else first + min(1.0, self.steps / self.total_steps) * (last - first)

    def _parts(self, batch: Batch, starts: tuple[State, ...], length: int) -> Iterator[tuple[Batch, bool]]:
        """Yield what each update learns from, and whether losses on the replay are due in it."""
        c, (T, B) = self.config, batch.advantage.shape
        often = self.replay is not None and self.replay.config.every == "epoch"
        orders: list[Tensor] = []
        if c.minibatches > 1 or length < T:  # for all epochs: the next rollout's do not depend on where this one stops
            count, device = len(starts) * B, batch.advantage.device
            orders = [torch.randperm(count, generator=self.generator, device=device) for _ in range(c.epochs)]
        for epoch in range(c.epochs):
            parts = iter([batch])
            if orders:
                ahead = self.reads_rollout
                parts = shuffled(batch, starts, length, c.minibatches, ahead=ahead, order=orders[epoch])
            for i, part in enumerate(parts):
                yield part, i == 0 and (often or epoch == 0)

    def _masks(self, batch: Batch) -> dict[str, Tensor]:
        """Return the masks of the actor-critic's terms, by term."""
        values = {stream.value_name: batch.mask[stream.name] for stream in self.streams.all}
        return values | {"policy": batch.rollout.valid, "entropy": batch.rollout.valid}

    def _plugged(
        self, terms: Terms, part: Batch, out: Output, replays: bool, taken: Container[str]
    ) -> dict[str, Metric]:
        """Add the plugins' terms to ``terms``, and return their metrics. ValueError for one whose name is ``taken``."""
        learnt, seen = self._learnt(part.rollout), _detached(out.features)
        for name, reward in self.streams.rewards.items():
            scored = part.scored[name]
            warming = name in self.streams.warming
            terms[name] = (scored.raw, part.rollout.valid) if warming else reward(learnt, seen, scored)
        due = {k: m for k, m in self.losses.items() if replays or k not in self.replaying}
        sequences = any(m.data == "sequence_replay" for m in due.values())
        shared = self._replayed() if sequences else None
        for name, loss in due.items():
            if loss.data == "transition_replay":
                assert self.replay is not None
                window = self.replay.windows(name, loss.batch, loss.length, skewed=loss.skewed)
                terms[name] = loss(self._learnt(window), None)
            elif loss.data == "sequence_replay" and shared is not None:
                terms[name] = loss(self._learnt(shared[0]), shared[1].features)
            else:
                terms[name] = loss(learnt, out.features)
        if terms.keys() != self.weights.keys() - (self.losses.keys() - due.keys()):
            raise ValueError(f"Losses {sorted(terms)} do not match weights {sorted(self.weights)}.")
        metrics: dict[str, Metric] = {}
        for name in (*self.streams.rewards, *due):
            refuse_odd_loss(name, terms[name])
            for k, v in self.active[name].metrics.items():
                if f"{name}/{k}" in taken:
                    raise ValueError(f"'{name}' logs '{k}', as the learner does for it: give that another name.")
                metrics[f"{name}/{k}"] = v if isinstance(v, Pooled) else over_updates(v, sparse=True)
        return metrics

    def _update(
        self, terms: Terms, counts: Mapping[str, Tensor], sound: Tensor, within: Tensor, diagnosed: Output | None
    ) -> dict[str, Metric]:
        """Reduce the terms, and make one update if everything is finite and the policy is ``within`` its limit."""
        reduced = {k: reduce(value, mask, counts.get(k)) for k, (value, mask) in terms.items()}
        weighted = {k: self.weights[k] * v for k, v in reduced.items() if self.weights[k]}  # 0 times NaN is NaN, not 0
        total = torch.stack(list(weighted.values())).sum()
        metrics: dict[str, Metric] = {}
        if diagnosed is not None and torch.isfinite(total):
            metrics |= encoder_shares(weighted, self.model.encoder.parameters())
            metrics["encoder/effective_rank"] = effective_rank(diagnosed.features.vector.flatten(0, 1))
        norms = self.gradients.compute(total)
        finite = torch.isfinite(total) & torch.isfinite(torch.stack(list(norms.values()))).all() & sound
        gated = self.gradients.gated  # otherwise the host has to check the value
        if not gated and not finite:
            raise NonFiniteError(self._diagnose(reduced, norms))
        self.gradients.apply(self.learning_rate, finite & within if gated else None)
        for module in self.active.values():
            module.after_update()
        self.updates += 1
        metrics |= {f"loss/{k}": v.detach() for k, v in reduced.items()}
        metrics |= {f"gradient_norm/{k}": v for k, v in norms.items()}
        metrics["finite"] = (finite | ~within).float()
        return metrics

    def _past(self) -> tuple[Batch, Output]:
        """Sample the replayed unrolls that the policy learns from beside the fresh ones, corrected by V-trace."""
        assert self.replay is not None
        share = self.replay.config.policy
        rollout, out = self._replayed("policy", share / (1 - share))
        rewards = rollout.intrinsic | {EXTRINSIC: self._learnt(rollout).reward}
        return prepared(rollout, out, self.streams, rewards, {}, _log_rho(out, rollout), fresh=False)[0], out

    def _replayed(self, reader: str = UNROLLS, ratio: float | None = None) -> tuple[Rollout, Output]:
        """Sample one batch of unrolls from the replay and unroll the model over it, after the burn-in."""
        assert self.replay is not None
        rollout, skip = self.replay.unrolls(reader, ratio), self.replay.config.burn_in
        if skip:
            with torch.no_grad():
                memory = self.model.unroll(cut(rollout, 0, skip - 1, rollout.state), mapped=False).memory
            state = AgentState(memory, rollout.action[skip - 1], rollout.reward[skip - 1])
            rollout = cut(rollout, skip, len(rollout.action), state)
        return rollout, self.model.unroll(rollout, self.shares, mapped=self.mapped)

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
        """Return weights, optimiser state, plugins and their memories, the generator of minibatches, and counters."""
        return {
            "model": self.model.state_dict(),
            **self.gradients.state_dict(),
            "plugins": {k: m.state_dict() for k, m in self.plugins.items()}
            | {f"{k}/normaliser": n.state_dict() for k, n in self.streams.normalisers.items()},
            "memories": self.streams.state_dict(),
            "advantages": self.streams.advantages.state_dict(),
            "generator": self.generator.get_state(),
            "steps": torch.tensor(self.steps),
            "updates": torch.tensor(self.updates),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``. ValueError, naming the plugin, if its weights no longer match."""
        self.model.load_state_dict(heads_by_name(state["model"]))
        kept = self.plugins | {f"{k}/normaliser": n for k, n in self.streams.normalisers.items()}
        for name, module in kept.items():
            try:
                module.load_state_dict(state["plugins"][name])
            except RuntimeError as error:
                what = str(error).splitlines()[-1].strip().rstrip(".")
                raise ValueError(f"the '{name}' of the checkpoint does not match the current one: {what}") from error
        for name, normaliser in self.streams.normalisers.items():
            if not normaliser.sound:
                raise ValueError(f"the normaliser of '{name}' in the checkpoint is invalid")
        self.gradients.load_state_dict(state)
        self.streams.load_state_dict(state["memories"])
        if "advantages" in state:  # earlier versions kept none
            try:
                self.streams.advantages.load_state_dict(state["advantages"])
            except (RuntimeError, TypeError, AttributeError) as error:
                raise ValueError("its running size of advantages is invalid") from error
            if not self.streams.advantages.sound:
                raise ValueError("its running size of advantages is invalid")
        if "generator" in state:  # earlier versions drew no minibatches
            set_state(self.generator, state["generator"])
        self.steps, self.updates = int(state["steps"]), int(state["updates"])


def _log_rho(out: Output, rollout: Rollout) -> Tensor:
    """Return log pi - log mu of the actions taken [T, B], a constant."""
    now = log_prob(out.logits[: len(rollout.action)], rollout.action)
    return (now - log_prob(rollout.logits, rollout.action)).detach()


def _detached(features: Features) -> Features:
    """Return the same features without their gradient, so that whatever learns from them does not change the agent."""
    parts = {k: tree_map(Tensor.detach, v) for k, v in features._asdict().items() if v is not None}
    return features._replace(**parts)
