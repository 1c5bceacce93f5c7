"""A reward of pure noise: the negative control of every experiment on intrinsic rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ...envs.trees import State
from ..base import IntrinsicConfig, IntrinsicReward, Scored
from ..reduction import average
from .parts.hashing import mixed

GOLDEN = -0x61C8864680B583EB
"""Increment of SplitMix64: 2^64 over the golden ratio, modulo 2^64."""


@dataclass(frozen=True)
class NoiseConfig(IntrinsicConfig):
    """Noise that depends on nothing: a negative control, which must not solve anything."""

    signed: bool = False
    """Draw from the standard normal distribution; otherwise its absolute value, as bonuses are not negative."""


def normal(bits: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    """Turn 64 random bits into a standard normal number (Box & Muller 1958), float32."""
    half, scale = 2**32 - 1, 2.0**-32
    radius = (((bits >> 32) & half).double() + 1) * scale  # in (0, 1]
    angle = (bits & half).double() * (2 * math.pi * scale)
    return ((-2 * radius.log()).sqrt() * angle.cos()).float()


class Noise(IntrinsicReward):
    """``|N(0, 1)|`` or ``N(0, 1)``, independent of everything.

    Each environment has a SplitMix64 generator (Steele et al. 2014), whose state is its memory: numbers depend on the
    seed and on the steps made, not on the length of rollouts.
    """

    Config = NoiseConfig
    paper = "noise: a control that must not help (Pathak et al. 2017, section 4.1)"
    seed: Tensor

    def __init__(self, config: NoiseConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        self.register_buffer("seed", torch.randint(2**62, ()))

    def initial_state(self, batch: int) -> State:
        """Return generators [B] that have not begun: 0."""
        return self.seed.new_zeros(batch)

    def score(self, rollout: Rollout, features: Features, state: State) -> Scored:
        """Draw T numbers for each environment."""
        assert isinstance(state, Tensor)
        T, B = rollout.reward.shape
        # A generator begins where neither another actor's nor one before a gap has.
        start = mixed(mixed(self.seed + rollout.source) + rollout.sequence)
        index = torch.arange(1, B + 1, device=state.device)
        state = torch.where(state == 0, mixed(start + index * GOLDEN), state)
        states = state + torch.arange(1, T + 1, device=state.device).unsqueeze(-1) * GOLDEN
        noise = normal(mixed(states))
        self.metrics = {"mean_square": average(noise.square(), rollout.valid)}
        return Scored(noise if self.config.signed else noise.abs(), states[-1].clone())
