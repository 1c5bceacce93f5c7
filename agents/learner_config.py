"""Settings of the learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta


@dataclass(frozen=True)
class ExtrinsicConfig:
    """The environment's own reward as one of the streams that the learner sums."""

    weight: Annotated[float, Meta(ge=0)] = 1.0
    """Factor on the advantage of the environment's reward; 0 leaves its value loss out too."""


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of the learner. Losses are means over valid steps."""

    gamma: Annotated[float, Meta(ge=0, le=1)] = 0.99
    """Discount per step of the extrinsic reward."""
    value_cost: Annotated[float, Meta(ge=0)] = 0.5
    """Weight of the value loss, which is half the squared error."""
    entropy_cost: Annotated[float, Meta(ge=0)] = 0.01
    """Weight of the entropy bonus (in nats)."""
    learning_rate: Annotated[float, Meta(gt=0)] = 7e-4
    """Learning rate of the agent and of auxiliary losses at the first step.
    It decays linearly to 0 over the budget unless --constant-rate is given."""
    constant_rate: bool = False
    """Keep the learning rate constant."""
    rms_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.99
    """Decay rate of RMSProp's running mean square."""
    epsilon: Annotated[float, Meta(gt=0)] = 1e-8
    """RMSProp's epsilon, added to the divisor of the gradient.
    Keep it small: gradients of averaged losses are about 1e-6 per weight where rewards are sparse."""
    epsilon_inside: bool = False
    """Add epsilon inside the square root, as TensorFlow does, instead of outside, as PyTorch does."""
    initial_mean_square: Annotated[float, Meta(ge=0)] | None = None
    """Initial value of RMSProp's running mean square: 1 in TensorFlow, 0 in PyTorch.
    If not given: 0 with Adam's bias correction."""
    max_grad_norm: Annotated[float, Meta(gt=0)] = 0.5
    """Maximum norm of the agent's gradient; a larger one is scaled down to it.
    The own weights of each auxiliary loss are clipped separately, at 10."""
    rho_bar: Annotated[float, Meta(gt=0)] = 1.0
    """Upper limit of V-trace's importance ratios; from 1 upwards it has no effect with --runner sync."""
    c_bar: Annotated[float, Meta(gt=0)] = 1.0
    """Upper limit of V-trace's trace coefficients; from 1 upwards it has no effect with --runner sync."""
    vtrace_lambda: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """V-trace's lambda, which mixes returns of different lengths; 1 gives the n-step return."""
    reward: Literal["raw", "clip", "sign", "asymmetric", "asymmetric-paper"] = "raw"
    """Transformation of the extrinsic reward before learning: raw, clip (to [-1, 1]), sign,
    asymmetric (IMPALA's released code: 5 tanh(r / 5), times 0.3 where negative) or
    asymmetric-paper (IMPALA's paper: 5 tanh r, 0.3 tanh r where negative)."""
    timeout_terminates: bool = False
    """Treat time limits as terminations, as most papers do,
    instead of bootstrapping from the value of the last state."""
