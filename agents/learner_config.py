"""Settings of the learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta


@dataclass(frozen=True)
class ExtrinsicConfig:
    """The environment's own reward as one of the streams that the learner sums."""

    weight: Annotated[float, Meta(ge=0)] = 1.0
    """Weight of the environment's reward relative to intrinsic rewards; 0 leaves it out."""


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of the learner. Losses are means over valid steps."""

    gamma: Annotated[float, Meta(ge=0, le=1)] = 0.99
    """Discount per step of the extrinsic reward."""
    value_cost: Annotated[float, Meta(ge=0)] = 0.5
    """Weight of the value loss (half the squared error)."""
    entropy_cost: Annotated[float, Meta(ge=0)] = 0.01
    """Weight of the entropy bonus (in nats)."""
    learning_rate: Annotated[float, Meta(gt=0)] = 7e-4
    """Learning rate at the first step; decays linearly to 0 over the budget unless --constant-rate is given."""
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
    If not given: the average of the squared gradients seen so far."""
    max_grad_norm: Annotated[float, Meta(gt=0)] = 0.5
    """Maximum global norm of the gradient; larger ones are scaled down to it."""
    rho_bar: Annotated[float, Meta(gt=0)] = 1.0
    """Upper limit of V-trace's importance ratios; has no effect on fresh rollouts (the sync runner)."""
    c_bar: Annotated[float, Meta(gt=0)] = 1.0
    """Upper limit of V-trace's trace coefficients; has no effect on fresh rollouts (the sync runner)."""
    vtrace_lambda: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """V-trace's lambda, which mixes returns of different lengths; 1 gives the n-step return."""
    reward: Literal["raw", "clip", "sign", "asymmetric", "asymmetric-paper"] = "raw"
    """Transformation of the extrinsic reward before learning: raw, clip (to [-1, 1]), sign,
    asymmetric (IMPALA's released code: 5 tanh(r / 5), times 0.3 where negative) or
    asymmetric-paper (IMPALA's paper: 5 tanh r, 0.3 tanh r where negative)."""
    timeout_terminates: bool = False
    """Treat time limits as terminations, as most papers do,
    instead of bootstrapping from the value of the last state."""
