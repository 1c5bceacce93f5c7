"""The actor-critic's terms: targets and advantages once a rollout, losses once an update."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..auxiliaries import Scored
from ..auxiliaries.pooling import Mean, Metric
from ..auxiliaries.reduction import average, explained_variance
from ..backbones.numerics import log_prob
from ..envs.experience import Rollout
from . import losses
from .batch import Batch, standardised
from .model import EXTRINSIC, Output
from .streams import Streams

Terms = dict[str, tuple[Tensor, Tensor]]
"""Value and mask of each loss, unreduced."""


def prepared(
    rollout: Rollout,
    out: Output,
    streams: Streams,
    rewards: Mapping[str, Tensor],
    scored: Mapping[str, Scored],
    log_rho: Tensor,
    *,
    fresh: bool = True,
) -> tuple[Batch, dict[str, Metric]]:
    """Return the targets of each stream, the sum of the streams' advantages, and metrics of them.

    ``rewards`` are those to learn from, [T, B] by stream, and ``log_rho`` is log pi - log mu of the actions, [T, B].
    Only a ``fresh`` rollout counts in the advantages' running size.
    """
    valid, rows = rollout.valid, len(rollout.action)
    value, target, mask = {}, {}, {}
    metrics: dict[str, Metric] = {}
    advantage = torch.zeros_like(rollout.reward)
    size: dict[str, Tensor] = {}
    for stream in streams.all:
        name, seen = stream.name, out.value[stream.name].detach()
        target[name], part = streams.targets(stream, rollout, rewards[name], seen, log_rho)
        value[name] = seen[:rows]
        part, divisor = streams.scaled(stream, part, valid, fresh=fresh)
        if divisor is not None:
            metrics[f"{name}/advantage_divisor"] = divisor
        part = stream.weight * part
        advantage = advantage + part
        if streams.rewards:
            size[name] = part.abs()
        # A stream that continues across resets bootstraps from the last observation of an episode if a rollout ends
        # there, so its value is trained on the crossing rows too.
        mask[name] = valid if stream.episodic else torch.ones_like(valid)
        metrics[f"{name}/explained_variance"] = explained_variance(value[name], target[name], valid)
        metrics[f"{name}/value"] = average(value[name], valid)
    metrics["advantage"] = average(advantage.abs(), valid)
    if streams.rewards:
        metrics |= {f"{name}/advantage": average(part, valid) for name, part in size.items()}
        sums = {name: torch.where(valid, part, 0.0).sum() for name, part in size.items()}
        own = torch.stack([x for name, x in sums.items() if name != EXTRINSIC]).sum()
        metrics["intrinsic_share"] = Mean.of(own, own + sums.get(EXTRINSIC, 0.0))
    if streams.config.advantage == "standardised":
        advantage = standardised(advantage, valid)
    elif streams.config.advantage == "running":
        if fresh:
            streams.advantages.update(advantage, valid & advantage.isfinite().all())  # else NaN would stay
        size_of_sum = streams.advantages.root_mean_square.float()
        advantage = advantage / (size_of_sum + 1e-8)
        metrics["advantage_divisor"] = size_of_sum
    return Batch(rollout, out.logits[:rows].detach(), value, target, mask, advantage, dict(scored)), metrics


def policy_terms(batch: Batch, out: Output, streams: Streams) -> tuple[Terms, dict[str, Metric]]:
    """Return the value loss of each stream, the policy's loss and its entropy, and metrics of the policy."""
    config = streams.config
    terms: Terms = {}
    metrics: dict[str, Metric] = {}
    action, valid, logits = batch.rollout.action, batch.rollout.valid, out.logits[: len(batch.advantage)]
    for stream in streams.all:
        name, value = stream.name, out.value[stream.name][: len(batch.advantage)]
        if config.value_clip is None:
            error = losses.squared_error(value, batch.target[name])
        else:
            error = losses.clipped_squared_error(value, batch.value[name], batch.target[name], config.value_clip)
        terms[stream.value_name] = error, batch.mask[name]
    advantage = standardised(batch.advantage, valid) if config.advantage == "minibatch" else batch.advantage
    if config.clip is None:
        terms["policy"] = losses.policy_gradient(logits, action, advantage), valid
    else:
        log_ratio = log_prob(logits, action) - log_prob(batch.logits, action)
        terms["policy"] = losses.clipped_surrogate(log_ratio, advantage, config.clip), valid
        metrics["clip_fraction"] = average((log_ratio.detach().exp() - 1).abs() > config.clip, valid)
    terms["entropy"] = losses.negative_entropy(logits), valid
    metrics["entropy"] = average(-terms["entropy"][0].detach(), valid)
    if config.updates > 1:
        metrics["kl"] = average(losses.kl_divergence(batch.logits, logits.detach()), valid)
    return terms, metrics


def together(fresh: Terms, replayed: Terms) -> Terms:
    """Return the terms of two batches as those of one."""
    return {
        name: (torch.cat([a.flatten(), b.flatten()]), torch.cat([m.flatten(), n.flatten()]))
        for (name, (a, m)), (b, n) in zip(fresh.items(), replayed.values(), strict=True)
    }
