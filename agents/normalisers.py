"""What a reward stream is divided by, so that its weight means the same whatever the scale of its bonus."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..envs.trees import State

FORGET = 0.95
"""What a rollout leaves of the running moments: they are means over about the last twenty rollouts."""


def running_returns(
    reward: Float[Tensor, "T B"], valid: Bool[Tensor, "T B"], before: Float[Tensor, " B"], *, gamma: float
) -> Float[Tensor, "T B"]:
    """f_t = gamma f_{t-1} + r_t over time, never cut at resets; rows that are not valid hand f on (Burda et al. 2018,
    RND, section 2.4).
    """
    found = torch.empty_like(reward)
    f = before
    for t in range(len(reward)):
        f = torch.where(valid[t], gamma * f + reward[t], f)
        found[t] = f
    return found


class Moments(nn.Module):
    """Mean and variance of a scalar over recent rollouts: each rollout's sums count ``forget`` times those after it."""

    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, forget: float = FORGET) -> None:
        super().__init__()
        self.forget = forget
        for name in ("count", "total", "squares"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def update(self, x: Tensor, mask: Tensor) -> None:
        """Take in ``x`` where ``mask`` is True."""
        kept = torch.where(mask, x, 0.0).double()
        for moment, added in ((self.count, mask.sum()), (self.total, kept.sum()), (self.squares, (kept * kept).sum())):
            moment.mul_(self.forget).add_(added)

    @property
    def mean(self) -> Tensor:
        """The mean; 0 before anything was seen."""
        return self.total / self.count.clamp(min=1e-12)

    @property
    def deviation(self) -> Tensor:
        """The standard deviation; 0 before anything was seen."""
        return (self.squares / self.count.clamp(min=1e-12) - self.mean.square()).clamp(min=0).sqrt()


class Normaliser(nn.Module):
    """Leaves a stream's reward as it is, and is what the others derive from.

    ``forward`` takes a rollout into its statistics first and then divides that rollout by them.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def initial_state(self, reward: Tensor) -> State:
        """Return what is remembered of each environment, before the first ``reward`` [T, B]."""
        return ()

    def forward(self, reward: Tensor, valid: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return the reward [T, B], the divisor (a scalar), and the state after the rollout."""
        return reward, torch.ones((), device=reward.device), state


class RewardDeviation(Normaliser):
    """Divides by the standard deviation of the reward within rollouts, or by its mean size where it hardly varies."""

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma)
        self.moments, self.size = Moments(), Moments()

    def spread(self, reward: Tensor, valid: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what is to vary by 1 [T, B], and the state."""
        return reward, state

    def forward(self, reward: Tensor, valid: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Return the reward [T, B], the divisor (a scalar), and the state after the rollout."""
        x, state = self.spread(reward, valid, state)
        mean = torch.where(valid, x, 0.0).sum() / valid.sum().clamp(min=1)
        self.moments.update(x - mean, valid)
        self.size.update(reward.abs(), valid)
        divisor = torch.maximum(self.moments.deviation, self.size.mean).float()
        return torch.where(divisor > 0, reward / divisor, reward), divisor, state


class ReturnDeviation(RewardDeviation):
    """Divides by the standard deviation of the running discounted return, one filter an environment (RND).

    It departs from the paper in three ways, since otherwise the ramp of the first 1 / (1 - gamma) steps and the fall of
    a bonus that wears off, pass for variation and divide the bonus away: a filter begins at the return that a reward of
    the first rollout's mean would have had for ever, deviations are from each rollout's own mean, and moments forget.
    """

    def initial_state(self, reward: Tensor) -> Tensor:
        """Return f before the first row [B]."""
        return reward.mean(0) / (1 - self.gamma)

    def spread(self, reward: Tensor, valid: Tensor, state: State) -> tuple[Tensor, State]:
        """Return f [T, B], and f after the last row [B]."""
        f = running_returns(reward, valid, state, gamma=self.gamma)
        return f, f[-1].clone()


NORMALISERS: dict[str, type[Normaliser]] = {
    "none": Normaliser,
    "return": ReturnDeviation,
    "reward": RewardDeviation,
}
