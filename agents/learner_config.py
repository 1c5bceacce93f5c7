"""How the agent learns, as settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LearnerConfig:
    """How the agent learns. Losses are means over valid steps."""

    gamma: float = 0.99
    """Discount per step of the extrinsic reward."""
    value_cost: float = 0.5
    """Weight of the value loss, half the squared error."""
    entropy_cost: float = 0.01
    """Weight of the entropy bonus, in nats."""
    learning_rate: float = 7e-4
    """At the first step; falls linearly to 0 over the budget unless --constant-rate."""
    constant_rate: bool = False
    """Keep the learning rate as it is."""
    rms_decay: float = 0.99
    """Of RMSProp's mean square."""
    epsilon: float = 1e-8
    """Of RMSProp. Gradients of losses averaged over a batch are small, 1e-6 a weight where rewards are sparse."""
    epsilon_inside: bool = False
    """Epsilon inside the root, as TensorFlow has it, or outside, as PyTorch."""
    initial_mean_square: float | None = None
    """What RMSProp's mean square begins with: TensorFlow 1, PyTorch 0; None is the mean of what was seen so far."""
    max_grad_norm: float = 0.5
    """Global norm the gradient is clipped to."""
    rho_bar: float = 1.0
    """V-trace's clip of the importance ratio; of no account where every rollout is fresh (the sync runner)."""
    c_bar: float = 1.0
    """V-trace's clip of the trace; of no account where every rollout is fresh."""
    vtrace_lambda: float = 1.0
    """V-trace's mixing of horizons; 1 is the n-step return."""
    reward: Literal["raw", "clip", "sign", "asymmetric", "asymmetric-paper"] = "raw"
    """What the learner makes of the extrinsic reward: as it is, clipped to [-1, 1], its sign, or IMPALA's asymmetric
    clipping, 5 tanh(r / 5) and 0.3 times that below 0 (its released code), or 5 tanh r and 0.3 tanh r (its paper)."""
    timeout_terminates: bool = False
    """A time limit cuts the return as a termination does, as most papers had it."""
