"""Value replay (Jaderberg et al. 2017, "Reinforcement learning with unsupervised auxiliary tasks", UNREAL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import tyro
from msgspec import Meta
from torch import Tensor

from ...backbones import Features, Sizes
from ...backbones.numerics import log_prob
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig
from ..reduction import average
from ..returns import discounts, vtrace


@dataclass(frozen=True)
class ValueReplayConfig(LossConfig):
    """Value replay. UNREAL uses weight 1, no correction and a replay of 2,000 steps per environment."""

    gamma: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Discount per step. If not given: the learner's."""
    correct: bool = True
    """Correct for the difference between the replayed and the current policy with V-trace; the paper does not."""
    timeout_terminates: bool | None = None
    """Treat time limits as terminations. If not given: the learner's setting."""
    rho_bar: Annotated[float, Meta(gt=0)] | None = None
    """Upper limit of V-trace's importance ratios. If not given: the learner's."""
    c_bar: Annotated[float, Meta(gt=0)] | None = None
    """Upper limit of V-trace's trace coefficients. If not given: the learner's."""
    lambda_: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, tyro.conf.arg(name="lambda")] = None
    """V-trace's lambda, which mixes returns of different lengths. If not given: the learner's."""


class ValueReplay(AuxiliaryLoss):
    """The extrinsic value loss on replayed unrolls: half the squared error to the return computed from them and the
    current values, without a policy gradient. ValueError without a discount.
    """

    Config = ValueReplayConfig
    paper = "learns the value of replayed steps again: UNREAL's value replay (Jaderberg et al. 2017)"
    data = "sequence_replay"

    def __init__(self, config: ValueReplayConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        if config.gamma is None:
            raise ValueError("value replay needs a discount: gamma.")
        self.config, self.gamma, self.correct = config, config.gamma, config.correct
        given = {"rho_bar": config.rho_bar, "c_bar": config.c_bar, "lambda_": config.lambda_}
        self.trace = {name: value for name, value in given.items() if value is not None}

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [T, B]."""
        value, valid = features.value["extrinsic"], rollout.valid
        log_rho = torch.zeros_like(rollout.reward)
        if self.correct:
            now, then = (log_prob(x, rollout.action) for x in (features.logits[:-1], rollout.logits))
            log_rho = (now - then).detach()
            self.metrics = {"importance": average(log_rho.exp(), valid)}
        discount = discounts(rollout, self.gamma, self.config.timeout_terminates)
        target, _ = vtrace(log_rho, rollout.reward, discount, value.detach(), valid, **self.trace)
        return (target - value[:-1]).square() / 2, valid
