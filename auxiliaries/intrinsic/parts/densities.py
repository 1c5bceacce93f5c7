"""Densities of views that learn online: what they have learnt is handed on, and kept only once it is committed."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from msgspec import Meta
from torch import Tensor, nn
from torch.func import functional_call

from ....backbones.autoregressive import Autoregressive, raster
from ....backbones.autoregressive.heads import Categorical
from ....backbones.autoregressive.networks import PixelCNN
from ....envs.trees import State
from ...base import IntrinsicConfig
from .symbols import Symbols

DECAY, MOMENTUM, EPSILON = 0.95, 0.9, 1e-4
"""Constants of RMSProp: of the mean of squared gradients, of the velocity, and the least divisor."""


@dataclass(frozen=True)
class DensityConfig(IntrinsicConfig):
    """Settings of rewards that learn a density of what the agent sees."""

    density: Literal["cts", "pixel_cnn"] = "cts"
    """Model of a view: cts (context tree switching, one update per view) or pixel_cnn (a network)."""
    side: Annotated[int, Meta(ge=2, le=2**10)] = 21
    """Images are averaged down to at least this many pixels a side (the paper: 42)."""
    chunk: Annotated[int, Meta(ge=1)] = 32
    """Views per gradient step of pixel_cnn, in the order of time (the paper: 1)."""
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-3
    """Learning rate of pixel_cnn (RMSProp, constant)."""


class Learnt(NamedTuple):
    """The result of learning N views in their order."""

    before: Float[Tensor, " N"]  # log-probability in nats, just before a view's update
    after: Float[Tensor, " N"]  # just after it
    state: State  # what was learnt, to be committed


class Density(nn.Module, abc.ABC):
    """A density of symbols [N, h, w, c]: log-probabilities are float64, in nats."""

    @abc.abstractmethod
    def log_prob(self, symbols: UInt8[Tensor, "N h w c"], state: State = None) -> Float[Tensor, " N"]:
        """Return the log-probability of each view under one fixed model: as committed, or that of ``state``."""

    @abc.abstractmethod
    def learn(self, symbols: UInt8[Tensor, "N h w c"], valid: Bool[Tensor, " N"]) -> Learnt:
        """Learn the views in their order, without those that are not ``valid``. Changes nothing in self."""

    @abc.abstractmethod
    def commit(self, state: State) -> None:
        """Keep what was learnt."""


class PixelDensity(Density):
    """A small PixelCNN of 16 maps and two residual layers (after Ostrovski et al. 2017), trained by RMSProp.

    One gradient step per ``chunk`` views, in the order of time and then of environments. The paper makes one per view:
    that is ``chunk`` 1, and thousands of passes per rollout. In a larger chunk a view's gain is that of a step along
    the mean gradient, of which it shares 1 / chunk with others of its time: it rises less where views differ, and equal
    views gain together. It is then no longer a pseudo-count in the strict sense, but an order of novelty.
    """

    weights: Tensor
    squares: Tensor
    velocity: Tensor

    def __init__(self, symbols: Symbols, chunk: int, learning_rate: float) -> None:
        super().__init__()
        self.chunk, self.learning_rate = chunk, learning_rate
        network = partial(PixelCNN, size=16, layers=2)
        model = Autoregressive(raster(*symbols.shape), Categorical(symbols.number, width=16), network)
        self.model = model.requires_grad_(False)
        count = sum(p.numel() for p in model.parameters())
        for name in ("squares", "velocity"):
            self.register_buffer(name, torch.zeros(count))

    def state(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights, mean of squared gradients and velocity, [P] each."""
        return nn.utils.parameters_to_vector(self.model.parameters()), self.squares, self.velocity

    def terms(self, symbols: Tensor, weights: Tensor) -> Tensor:
        """Return the log-probability of each symbol [N, L] given those before it, under ``weights`` [P]."""
        named = dict(self.model.named_parameters())
        parts = torch.split(weights, [p.numel() for p in named.values()])
        shaped = {k: part.view_as(p) for part, (k, p) in zip(parts, named.items(), strict=True)}
        found: Tensor = functional_call(self.model, shaped, (symbols,), {"reduce": "none"})
        return found.flatten(1).double()

    @torch.no_grad()
    def log_prob(self, symbols: Tensor, state: State = None) -> Tensor:
        """Return log-probabilities [N] under one set of weights."""
        weights = (self.state() if state is None else state)[0]
        return torch.cat([self.terms(some, weights).sum(-1) for some in torch.split(symbols, max(self.chunk, 64))])

    def learn(self, symbols: Tensor, valid: Tensor) -> Learnt:
        """Take one step per chunk of N views, on a copy of the weights."""
        (weights, squares, velocity), before, after = self.state(), [], []
        for some, there in zip(torch.split(symbols, self.chunk), torch.split(valid, self.chunk), strict=True):
            with torch.enable_grad():
                leaf = weights.detach().requires_grad_()
                log_prob = self.terms(some, leaf).sum(-1)
                loss = -torch.where(there, log_prob, 0.0).sum() / there.sum().clamp(min=1)
                (gradient,) = torch.autograd.grad(loss, leaf)
            moved = rmsprop(weights, squares, velocity, gradient, self.learning_rate)
            any_there = there.any()
            weights, squares, velocity = (
                torch.where(any_there, new, old) for new, old in zip(moved, (weights, squares, velocity), strict=True)
            )
            before.append(log_prob.detach())
            after.append(self.log_prob(some, (weights,)))
        return Learnt(torch.cat(before), torch.cat(after), (weights, squares, velocity))

    @torch.no_grad()
    def commit(self, state: State) -> None:
        """Keep weights and optimiser state."""
        weights, squares, velocity = state
        nn.utils.vector_to_parameters(weights.clone(), self.model.parameters())
        self.squares.copy_(squares)
        self.velocity.copy_(velocity)


def rmsprop(
    weights: Tensor, squares: Tensor, velocity: Tensor, gradient: Tensor, rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, mean of squared gradients and velocity after one step of RMSProp, [P] each."""
    squares = DECAY * squares + (1 - DECAY) * gradient.square()
    velocity = MOMENTUM * velocity + gradient / (squares.sqrt() + EPSILON)
    return weights - rate * velocity, squares, velocity
