"""Normalisers of reward streams, which make a stream's weight independent of the scale of its reward."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..envs.trees import State

FORGET = 0.95
"""Factor by which each rollout scales the older running moments: they average over about the last twenty rollouts."""
STANDARD = 0.9
"""The factor for the mean and the deviation of `Standard`, as in DEIR and ETD."""


def running_returns(
    reward: Float[Tensor, "T B"], valid: Bool[Tensor, "T B"], before: Float[Tensor, " B"], *, gamma: float
) -> Float[Tensor, "T B"]:
    """Filter rewards over time: f_t = gamma f_{t-1} + r_t, never cut at resets; rows that are not valid pass f on
    unchanged (Burda et al. 2018, RND, section 2.4).
    """
    found = torch.empty_like(reward)
    f = before
    for t in range(len(reward)):
        f = torch.where(valid[t], gamma * f + reward[t], f)
        found[t] = f
    return found


class Moments(nn.Module):
    """Mean and variance of a scalar over recent rollouts: the weight of a rollout's sums is multiplied by ``forget``
    with each later rollout.
    """

    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, forget: float = FORGET) -> None:
        super().__init__()
        self.forget = forget
        for name in ("count", "total", "squares"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def update(self, x: Tensor, mask: Tensor) -> None:
        """Include ``x`` where ``mask`` is True."""
        kept = torch.where(mask, x, 0.0).double()
        for moment, added in ((self.count, mask.sum()), (self.total, kept.sum()), (self.squares, (kept * kept).sum())):
            moment.mul_(self.forget).add_(added)

    @property
    def sound(self) -> bool:
        """Return whether these can be moments of anything; the host waits for the device."""
        return all(bool(x.isfinite()) for x in (self.count, self.total, self.squares)) and bool(
            (self.count >= 0) & (self.squares >= 0)
        )

    @property
    def mean(self) -> Tensor:
        """Return the mean; 0 before the first update."""
        return self.total / self.count.clamp(min=1e-12)

    @property
    def root_mean_square(self) -> Tensor:
        """Return the root of the mean square; 0 before the first update."""
        return (self.squares / self.count.clamp(min=1e-12)).sqrt()

    @property
    def deviation(self) -> Tensor:
        """Return the standard deviation; 0 before the first update."""
        return (self.squares / self.count.clamp(min=1e-12) - self.mean.square()).clamp(min=0).sqrt()


class Normaliser(nn.Module):
    """Base class of normalisers; leaves the reward unchanged. In derived classes ``forward`` first includes a rollout
    in its statistics, and then subtracts the ``offset`` from that rollout and divides it by the ``divisor``.
    """

    zero: Tensor

    def __init__(self, gamma: float) -> None:
        super().__init__()
        if not 0 <= gamma < 1:
            raise ValueError(f"an intrinsic reward's gamma has to be at least 0 and below 1, not {gamma}")
        self.gamma = gamma
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def initial_state(self, reward: Tensor) -> State:
        """Return the state per environment before the first ``reward`` [T, B]."""
        return ()

    def include(self, reward: Tensor, valid: Tensor, state: State) -> State:
        """Include a rollout [T, B] in the statistics, where ``valid``, and return the state after it."""
        return state

    @property
    def offset(self) -> Tensor:
        """Return the number that is subtracted from a reward, a scalar."""
        return self.zero

    @property
    def divisor(self) -> Tensor:
        """Return the latest divisor, a scalar; 0 before the first rollout with a reward."""
        return self.zero + 1

    @property
    def sound(self) -> bool:
        """Return whether these can be statistics of anything; the host waits for the device."""
        return all(part.sound for part in self.modules() if isinstance(part, Moments))

    def forward(self, reward: Tensor, valid: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return the normalised reward [T, B], the divisor (a scalar), and the state after the rollout."""
        state = self.include(reward, valid, state)
        return torch.where(valid, self.normalised(reward), 0.0), self.divisor, state

    def normalised(self, reward: Tensor) -> Tensor:
        """Return the reward normalised by the statistics so far."""
        offset, divisor = self.offset.to(reward.device), self.divisor.to(reward.device)
        return (reward - offset) / torch.where(divisor > 0, divisor, 1.0)

    def scaled(self, advantage: Tensor, valid: Tensor, *, fresh: bool) -> tuple[Tensor, Tensor | None]:
        """Return the stream's advantage [T, B], and its divisor (None if it is left as it is). Only a ``fresh`` rollout
        counts in a running size.
        """
        return advantage, None


class RewardDeviation(Normaliser):
    """Divides by the standard deviation of the reward within rollouts, or by its mean absolute value where it hardly
    varies.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma)
        self.moments, self.size = Moments(), Moments()

    @property
    def divisor(self) -> Tensor:
        """Return the latest divisor, a scalar; 0 before the first rollout with a reward."""
        return torch.maximum(self.moments.deviation, self.size.mean).float()

    def spread(self, reward: Tensor, valid: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the quantity whose standard deviation is to be 1 [T, B], and the state."""
        return reward, state

    def include(self, reward: Tensor, valid: Tensor, state: State) -> State:
        """Include a rollout [T, B] in the statistics, where ``valid``, and return the state after it."""
        x, state = self.spread(reward, valid, state)
        mean = torch.where(valid, x, 0.0).sum() / valid.sum().clamp(min=1)
        self.moments.update(x - mean, valid)
        self.size.update(reward.abs(), valid)
        return state


class ReturnDeviation(RewardDeviation):
    """Divides by the standard deviation of the running discounted return, one filter per environment (RND).

    It departs from the paper in three ways: a filter begins at the return of a constant reward equal to the first
    rollout's mean, deviations are from each rollout's own mean, and moments forget. Otherwise the rise of the filter
    over the first 1 / (1 - gamma) steps and the decline of a fading bonus would count as variation, and the division
    would remove the bonus.
    """

    def initial_state(self, reward: Tensor) -> Tensor:
        """Return f before the first row [B], NaN: it begins with the first rows that are valid."""
        return torch.full_like(reward[0], torch.nan)

    def spread(self, reward: Tensor, valid: Tensor, state: State) -> tuple[Tensor, State]:
        """Return f [T, B], and f after the last row [B]."""
        mean = torch.where(valid, reward, 0.0).sum() / valid.sum()  # NaN where there is none
        before = torch.where(state.isnan(), mean / (1 - self.gamma), state)
        f = running_returns(reward, valid, before, gamma=self.gamma)
        return f, f[-1].clone()


class AdvantageSize(ReturnDeviation):
    """Divides the reward as `ReturnDeviation` does, which keeps values a few units, and then the stream's advantage by
    its own running root mean square, so that its size is about the stream's weight once its value is learnt.

    The divisor is at least ``least``, so that of a reward that is always 0 the noise of its values is not scaled up.
    """

    least = 0.1

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma)
        self.advantages = Moments()

    def scaled(self, advantage: Tensor, valid: Tensor, *, fresh: bool) -> tuple[Tensor, Tensor | None]:
        """Return the stream's advantage [T, B] divided, and its divisor, a scalar."""
        if fresh:
            self.advantages.update(advantage, valid & advantage.isfinite().all())  # else NaN would stay
        divisor = self.advantages.root_mean_square.float().clamp(min=self.least)
        return advantage / divisor, divisor


class Standard(Normaliser):
    """Subtracts the running mean of the reward and divides by its running standard deviation (Wan et al. 2023, DEIR;
    Jiang et al. 2025, ETD), or by a hundredth of its mean absolute value where it hardly varies.

    The subtraction changes a return that continues across resets by a constant, which its value learns; where returns
    end with the episode, it takes away what a longer episode earns by its length alone.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma)
        self.moments, self.size = Moments(STANDARD), Moments(STANDARD)

    @property
    def offset(self) -> Tensor:
        """Return the running mean, a scalar."""
        return self.moments.mean.float()

    @property
    def divisor(self) -> Tensor:
        """Return the latest divisor, a scalar; 0 before the first rollout with a reward."""
        return torch.maximum(self.moments.deviation, 0.01 * self.size.mean).float()

    def include(self, reward: Tensor, valid: Tensor, state: State) -> State:
        """Include a rollout [T, B] in the statistics, where ``valid``, and return the state after it."""
        self.moments.update(reward, valid)
        self.size.update(reward.abs(), valid)
        return state


class MinMax(Normaliser):
    """Maps the range of the reward in recent rollouts to [0, 1]: its ends widen at once, and move towards the ends of
    later rollouts as moments forget. The range is at least a hundredth of its larger end, so that a reward that hardly
    varies becomes one near 0.
    """

    low: Tensor
    high: Tensor

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma)
        self.register_buffer("low", torch.full((), torch.inf, dtype=torch.float64))
        self.register_buffer("high", torch.full((), -torch.inf, dtype=torch.float64))

    @property
    def offset(self) -> Tensor:
        """Return the lower end of the range, a scalar."""
        return torch.where(self.low.isinf(), 0.0, self.low).float()

    @property
    def divisor(self) -> Tensor:
        """Return the width of the range, a scalar; 0 before the first rollout with a reward."""
        least = 0.01 * torch.maximum(self.low.abs(), self.high.abs())
        return torch.where(self.low.isinf(), 0.0, torch.maximum(self.high - self.low, least)).float()

    @property
    def sound(self) -> bool:
        """Return whether these can be the ends of a range; the host waits for the device."""
        return not bool(self.low.isnan() | self.high.isnan())

    def include(self, reward: Tensor, valid: Tensor, state: State) -> State:
        """Include a rollout [T, B] in the statistics, where ``valid``, and return the state after it."""
        low = torch.where(valid, reward, torch.inf).amin().double()
        high = torch.where(valid, reward, -torch.inf).amax().double()
        relaxed = FORGET * self.low + (1 - FORGET) * low, FORGET * self.high + (1 - FORGET) * high
        seen = valid.any()
        self.low.copy_(torch.where(seen, torch.minimum(low, relaxed[0]), self.low))
        self.high.copy_(torch.where(seen, torch.maximum(high, relaxed[1]), self.high))
        return state


NORMALISERS: dict[str, type[Normaliser]] = {
    "none": Normaliser,
    "return": ReturnDeviation,
    "reward": RewardDeviation,
    "standard": Standard,
    "minmax": MinMax,
    "advantage": AdvantageSize,
}
