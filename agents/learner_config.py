"""Settings of the learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from msgspec import Meta


@dataclass(frozen=True)
class ExtrinsicConfig:
    """The environment's own reward as one of the streams that the learner sums."""

    weight: Annotated[float, Meta(ge=0)] = 1.0
    """Factor on the advantage of the environment's reward; 0 leaves its value loss out too."""


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of the learner. Losses are means over valid steps.

    A2C and V-trace make one update per rollout: one epoch and one minibatch, without ``clip``. PPO makes several.
    """

    gamma: Annotated[float, Meta(ge=0, le=1)] = 0.99
    """Discount per step of the extrinsic reward."""
    value_cost: Annotated[float, Meta(ge=0)] = 0.5
    """Weight of the value loss, which is half the squared error."""
    entropy_cost: Annotated[float, Meta(ge=0)] = 0.01
    """Weight of the entropy bonus (in nats) at the first step."""
    final_entropy_cost: Annotated[float, Meta(ge=0)] | None = None
    """Weight of the entropy bonus at the end of the budget, to which it moves linearly.
    A larger budget stretches this, as it does the learning rate's decay. If not given: that of the first step."""
    learning_rate: Annotated[float, Meta(gt=0)] = 7e-4
    """Learning rate of the agent and of auxiliary losses at the first step.
    It decays linearly to 0 over the budget unless --constant-rate is given."""
    constant_rate: bool = False
    """Keep the learning rate constant."""
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """Optimiser of the agent and of auxiliary losses: rmsprop, or adam with decay rates of 0.9 and 0.999."""
    rms_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.99
    """Decay rate of RMSProp's running mean square."""
    epsilon: Annotated[float, Meta(gt=0)] = 1e-8
    """The optimiser's epsilon, added to the divisor of the gradient.
    Keep it small: gradients of averaged losses are about 1e-6 per weight where rewards are sparse."""
    epsilon_inside: bool = False
    """Add RMSProp's epsilon inside the square root, as TensorFlow does, instead of outside, as PyTorch does."""
    initial_mean_square: Annotated[float, Meta(ge=0)] | None = None
    """Initial value of RMSProp's running mean square: 1 in TensorFlow, 0 in PyTorch.
    If not given: 0 with Adam's bias correction."""
    max_grad_norm: Annotated[float, Meta(gt=0)] = 0.5
    """Maximum norm of the agent's gradient; a larger one is scaled down to it.
    The own weights of each auxiliary loss are clipped separately, at 10."""
    rho_bar: Annotated[float, Meta(gt=0)] = 1.0
    """Upper limit of V-trace's importance ratios; from 1 upwards it has no effect with --runner sync
    unless --replay.policy is given."""
    c_bar: Annotated[float, Meta(gt=0)] = 1.0
    """Upper limit of V-trace's trace coefficients; from 1 upwards it has no effect with --runner sync
    unless --replay.policy is given."""
    lambda_: Annotated[float, Meta(ge=0, le=1), tyro.conf.arg(name="lambda")] = 1.0
    """Lambda of V-trace and of generalised advantage estimation, which mixes returns of different lengths:
    1 gives the n-step return, 0 the one-step return."""
    epochs: Annotated[int, Meta(ge=1)] = 1
    """Number of passes over each rollout."""
    minibatches: Annotated[int, Meta(ge=1)] = 1
    """Number of parts into which each epoch divides the rollout at random, with one update per part."""
    segment: Annotated[int, Meta(ge=1)] | None = None
    """Length in steps of the pieces of a rollout that minibatches are drawn from; it has to divide --unroll.
    If not given: the whole unroll for agents with memory or with losses that read the rollout, otherwise 1."""
    clip: Annotated[float, Meta(gt=0)] | None = None
    """PPO's clip range: where the ratio of an action's probability to that before the first update
    has moved further than this from 1 in the advantage's favour, the policy loss has no gradient.
    If not given: the plain policy gradient, which suits a single update."""
    advantage: Literal["raw", "running", "standardised", "minibatch"] = "raw"
    """Advantage of the policy loss: raw, running (divided by its root mean square over about the last
    hundred rollouts), standardised (to mean 0 and standard deviation 1 over the rollout)
    or minibatch (the same in each minibatch, as in the PPO baselines)."""
    value_clip: Annotated[float, Meta(gt=0)] | None = None
    """Limit of the change of each value per rollout, beyond which its loss has no gradient. If not given: none."""
    target_kl: Annotated[float, Meta(gt=0)] | None = None
    """Stop learning from a rollout once the policy's mean KL divergence (in nats) from the one
    before the first update exceeds this. If not given: all epochs are completed."""
    reward: Literal["raw", "clip", "sign", "asymmetric", "asymmetric-paper"] = "raw"
    """Transformation of the extrinsic reward before learning: raw, clip (to [-1, 1]), sign,
    asymmetric (IMPALA's released code: 5 tanh(r / 5), times 0.3 where negative) or
    asymmetric-paper (IMPALA's paper: 5 tanh r, 0.3 tanh r where negative)."""
    combine: Annotated[Literal["sum", "product"], tyro.conf.arg(name="intrinsic.combine")] = "sum"
    """How several intrinsic rewards act together: sum (a stream each, with its own discount and value)
    or product (one stream, whose reward is the product of the normalised rewards, such as a lifelong
    and an episodic one; its weight is the product of the weights, its other settings are the first's by name)."""
    timeout_terminates: bool = False
    """Treat time limits as terminations, as most papers do,
    instead of bootstrapping from the value of the last state."""

    @property
    def updates(self) -> int:
        """Return the number of updates per rollout, unless ``target_kl`` ends them early."""
        return self.epochs * self.minibatches
