"""Variational information maximising exploration: Bayesian surprise of a transition (Houthooft et al. 2016, VIME)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float, Int
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...backbones.numerics import one_hot
from ...envs.experience import Rollout, Spec
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..generators import Draws
from ..pooling import ExplainedVariance
from ..reduction import average
from .parts.networks import Embedding, orthogonal
from .parts.view import View
from .parts.whitening import Whitening

MEDIANS = 10
"""Number of earlier rollouts whose medians are the unit of the reward (the paper: of trajectories)."""


@dataclass(frozen=True)
class VIMEConfig(IntrinsicConfig):
    """Bayesian surprise: what a transition teaches a model of the dynamics, in units of its recent median."""

    hidden: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Width of the Bayesian network's hidden layer."""
    size: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Number of fixed random features that are predicted where the agent sees images; vectors are predicted as such."""
    side: Annotated[int, Meta(ge=20, le=2**12)] = 42
    """Images are averaged down to at least this many pixels a side."""
    prior: Annotated[float, Meta(gt=0)] = 0.5
    """Standard deviation of each weight before anything was seen."""
    start: Annotated[float, Meta(gt=0)] = 0.05
    """Standard deviation of each weight at the beginning of training: at that of the prior, means hardly learn."""
    noise: Annotated[float, Meta(gt=0)] = 1.0
    """Standard deviation of the model's noise, in those of what it predicts (the authors' script: 5)."""
    samples: Annotated[int, Meta(ge=1, le=1024)] = 10
    """Number of samples of the hidden layer behind each reward."""
    pool: Annotated[int, Meta(ge=1, le=2**24)] = 50_000
    """Number of newest transitions that the network learns from (the paper: a million)."""
    batch: Annotated[int, Meta(ge=1, le=2**20)] = 256
    """Number of them per update (the paper: 10, in many more updates)."""
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-3
    """Learning rate of the Bayesian network (Adam; the paper: 1e-4, in many more updates)."""
    episodic: bool = True
    """End this reward's return where an episode ends, as if added to the environment's reward (the paper); otherwise it
    continues across resets."""


class Weights(NamedTuple):
    """Independent Gaussian weights of a layer, N(mu, ln(1 + e^rho)^2); the last column is the bias."""

    mu: Float[Tensor, "O I"]
    rho: Float[Tensor, "O I"]

    @property
    def variance(self) -> Tensor:
        """Return sigma^2."""
        return F.softplus(self.rho).square()


def curvature(rho: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the second derivatives of KL[q(phi') | q(phi)] by mu' and by rho' at phi' = phi: ``1 / sigma^2`` and
    ``2 e^(2 rho) / ((1 + e^rho)^2 sigma^2)``.
    """
    precision = F.softplus(rho).square().reciprocal()
    return precision, 2 * rho.sigmoid().square() * precision


def divergence(weights: Weights, prior: float) -> Tensor:
    """Compute ``KL[q | N(0, prior^2)]`` of all weights of a layer in nats, a scalar."""
    ratio = weights.variance / prior**2
    return (ratio + (weights.mu / prior).square() - 1 - ratio.log()).sum() / 2


def hidden_layer(one: Weights, x: Tensor, xi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sample pre-activations of inputs x [N, I]: values [S, N, H] for standard normal ``xi`` [S, N or 1, H], and their
    deviation [N, H] (local reparametrisation, Kingma et al. 2015). Returns also the layer's output [S, N, H + 1].
    """
    deviation = F.linear(x.square(), one.variance).clamp(min=1e-20).sqrt()
    values = F.linear(x, one.mu) + xi * deviation
    return values, deviation, with_bias(values.relu())


def with_bias(x: Tensor) -> Tensor:
    """Append a 1 to the last axis."""
    return F.pad(x, (0, 1), value=1.0)


def expected_error(one: Weights, two: Weights, x: Tensor, y: Tensor, xi: Tensor, noise: float) -> Tensor:
    """Estimate ``-E_q ln p(y | x)`` [N] in nats, without its constant. The expectation over the last layer, which is
    linear, is exact.
    """
    _, _, h = hidden_layer(one, x, xi)
    spread = F.linear(h.square(), two.variance)
    return ((F.linear(h, two.mu) - y).square() + spread).sum(-1).mean(0) / (2 * noise**2)


def information(
    one: Weights, two: Weights, x: Float[Tensor, "N I"], y: Float[Tensor, "N D"], xi: Tensor, noise: float
) -> Float[Tensor, " N"]:
    """Compute ``1/2 g' H^-1 g`` [N] in nats: the KL of the posterior after one Newton step on a single transition from
    the one before it. g is the gradient of ``expected_error`` by mu and rho, H the diagonal ``curvature`` (the
    paper's step size cancels in the division by the median).

    The gradient by a layer's mu or variance is an outer product for each sample, so it is written out: with d the
    derivatives by the outputs' means, and k by their variances.
    """
    a, deviation, h = hidden_layer(one, x, xi)
    d2 = (F.linear(h, two.mu) - y) / noise**2  # [S, N, D]
    k2 = h.square().mean(0) / (2 * noise**2)  # [N, H + 1], the same for every output
    back = (d2 @ two.mu + h * two.variance.sum(0) / noise**2)[..., :-1] * (a > 0)  # [S, N, H], by pre-activations
    d1 = back.mean(0)
    k1 = (back * xi).mean(0) / (2 * deviation)
    by_mu, by_rho = zip(*(inverse_curvature(w) for w in (one, two)), strict=True)
    g2 = torch.einsum("sni,snj->nij", d2, h) / len(h)
    found = (d1.square() * F.linear(x.square(), by_mu[0])).sum(-1) + (g2.square() * by_mu[1]).sum((-2, -1))
    found += (k1.square() * F.linear(x.pow(4), by_rho[0])).sum(-1) + k2.square() @ by_rho[1].sum(0)
    total: Tensor = found / 2
    return total


def inverse_curvature(weights: Weights) -> tuple[Tensor, Tensor]:
    """Return what to multiply squared gradients by mu and by the variance with: 1 / H, times (d sigma^2 / d rho)^2."""
    mean, spread = curvature(weights.rho)
    return 1 / mean, (2 * F.softplus(weights.rho) * weights.rho.sigmoid()).square() / spread


def quantiles(samples: int, hidden: int) -> Float[Tensor, "S 1 H"]:
    """Draw standard normal samples that are spread evenly: for each unit the same ``samples`` quantiles, in an order of
    its own. Rewards do not differ by chance, nor does computing them use up random numbers.
    """
    order = torch.rand(samples, hidden).argsort(0)
    values: Tensor = torch.special.ndtri((order + 0.5) / samples)
    return values.unsqueeze(1)


def median(x: Tensor, mask: Tensor) -> Tensor:
    """Return the lower median of ``x`` over the mask, a scalar; NaN if it is empty."""
    ordered = torch.where(mask, x, torch.inf).flatten().sort().values
    count = mask.sum()
    middle = ordered.gather(0, ((count - 1) // 2).clamp(min=0).unsqueeze(0)).squeeze(0)
    return torch.where(count > 0, middle, torch.nan)


class Pool(nn.Module):
    """The newest transitions, in a ring: features before and after, and the action between."""

    before: Tensor
    action: Tensor
    after: Tensor
    total: Tensor  # number of transitions ever written

    def __init__(self, capacity: int, size: int) -> None:
        super().__init__()
        self.capacity = capacity
        for name in ("before", "after"):
            self.register_buffer(name, torch.zeros(capacity + 1, size))  # the last place is for what is not kept
        self.register_buffer("action", torch.zeros(capacity + 1, dtype=torch.int64))
        self.register_buffer("total", torch.zeros((), dtype=torch.int64))

    @property
    def count(self) -> Tensor:
        """Return how many transitions there are."""
        return self.total.clamp(max=self.capacity)

    def add(self, before: Tensor, action: Int[Tensor, " N"], after: Tensor, valid: Tensor) -> None:
        """Write the ``valid`` transitions of N, oldest first."""
        rank = valid.cumsum(0)
        kept = valid & (rank > rank[-1] - self.capacity)
        place = torch.where(kept, (self.total + rank - 1) % self.capacity, self.capacity)
        for ring, x in ((self.before, before), (self.action, action), (self.after, after)):
            ring.index_copy_(0, place, x)
            ring[-1].zero_()
        self.total += rank[-1]

    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw ``number`` transitions, with replacement."""
        share = torch.rand(number, generator=generator, dtype=torch.float64, device=self.total.device)
        index = torch.minimum((share * self.count).long(), (self.count - 1).clamp(min=0))
        return self.before[index], self.action[index], self.after[index]


class Context(NamedTuple):
    """What `observe` needs of a scored rollout."""

    features: Tensor  # [T + 1, B, D], not whitened
    information: Tensor  # [T, B] in nats


class VIME(IntrinsicReward):
    """``KL[q' | q]`` of the weights of a Bayesian network that predicts the whitened features of o[t + 1] from those of
    o[t] and the action, after and before learning from this one transition; divided by its recent median.

    Features are vectors as they are, or fixed random features of images. What noise teaches also declines.
    """

    Config = VIMEConfig
    paper = "information gained about the dynamics (VIME, Houthooft et al. 2016)"
    over = "life"
    trains = "a Bayesian network"
    xi: Tensor
    medians: Tensor

    def __init__(self, config: VIMEConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.view, self.actions = View(spec, config.side), spec.num_actions
        self.embedding: nn.Module | None = None
        size = spec.observation["vector"][0][0] if "vector" in spec.observation else 0
        if "image" in self.view.shapes:
            scale, size = 10.0 if self.view.small("image") else 255.0, config.size
            random = Embedding(self.view, (size,), nn.LeakyReLU, scale)
            self.embedding = orthogonal(random).requires_grad_(False)
        self.whitening = Whitening({"vector": (size,)})
        self.pool, self.draws = Pool(config.pool, size), Draws()
        self.mu, self.rho = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in ((size + self.actions, config.hidden), (config.hidden, size)):
            layer = nn.Linear(inputs, outputs)
            mu = torch.cat([layer.weight, layer.bias.unsqueeze(-1)], -1).detach()
            self.mu.append(nn.Parameter(mu))
            self.rho.append(nn.Parameter(torch.full_like(mu, math.log(math.expm1(config.start)))))
        self.register_buffer("xi", quantiles(config.samples, config.hidden))
        self.register_buffer("medians", torch.full((MEDIANS,), torch.nan))

    @property
    def weights(self) -> tuple[Weights, Weights]:
        """Return the network's two layers."""
        one, two = map(Weights, self.mu, self.rho)
        return one, two

    def embed(self, rollout: Rollout) -> Tensor:
        """Return the features [T + 1, B, D], not whitened."""
        if self.embedding is None:
            return rollout.observation["vector"].float()
        with self.precision(rollout.reward.device):
            found: Tensor = self.embedding(self.view(rollout.observation))
        return found.view(*rollout.first.shape, -1)

    def pair(self, before: Tensor, action: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's input [N, I], the bias included, and what it is to predict [N, D]."""
        x, y = (self.whitening({"vector": z})["vector"] for z in (before, after))
        return with_bias(torch.cat([x, one_hot(action, self.actions).to(x.dtype)], -1)), y

    def warm_up(self, rollout: Rollout) -> None:
        """Learn the statistics of features."""
        self.whitening.update({"vector": self.embed(rollout)[1:].flatten(0, 1)})

    def score(self, rollout: Rollout, features: Features, state: object) -> Scored:
        """Score T transitions by the information in them."""
        z, valid = self.embed(rollout), rollout.valid
        action = torch.where(valid, rollout.action, 0)
        x, y = self.pair(z[:-1].flatten(0, 1), action.flatten(), z[1:].flatten(0, 1))
        found = information(*self.weights, x, y, self.xi, self.config.noise).view_as(rollout.reward)
        unit = self.medians.nanmean()
        unit = torch.where(unit.isnan(), median(found, valid).nan_to_num(1.0), unit)
        self.metrics = {"information": average(found, valid)}
        return Scored(found / unit.clamp(min=1e-12), (), Context(z, found))

    def observe(self, rollout: Rollout, features: Features, scored: Scored) -> None:
        """Keep the transitions, and include the rollout in the statistics of features and in the medians."""
        z, found = scored.context
        valid = rollout.valid
        self.whitening.update({"vector": z[1:].flatten(0, 1)})
        self.pool.add(z[:-1].flatten(0, 1), rollout.action.flatten(), z[1:].flatten(0, 1), valid.flatten())
        new = median(found, valid)
        self.medians.copy_(torch.where(new.isnan(), self.medians, torch.cat([self.medians[1:], new.unsqueeze(0)])))

    def forward(self, rollout: Rollout, features: Features, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the variational bound [N] of N transitions of the pool, in nats per feature: it does not depend on the
        rollout.
        """
        c, generator = self.config, self.draws.on(rollout.reward.device)
        x, y = self.pair(*self.pool.draw(c.batch, generator))
        xi = torch.randn(1, c.batch, c.hidden, generator=generator, device=y.device)
        one, two = self.weights
        cost = (divergence(one, c.prior) + divergence(two, c.prior)) / self.pool.count.clamp(min=1)
        mask = (self.pool.count > 0).expand(c.batch)
        with torch.no_grad():
            guess = F.linear(with_bias(F.linear(x, one.mu).relu()), two.mu)
        self.metrics |= {
            "explained": ExplainedVariance.of(guess, y, mask.unsqueeze(-1).expand_as(y)),
            "deviation": torch.cat([F.softplus(rho.detach()).flatten() for rho in self.rho]).mean(),
            "filled": self.pool.count / self.pool.capacity,
        }
        return (expected_error(one, two, x, y, xi, c.noise) + cost) / y.shape[-1], mask
