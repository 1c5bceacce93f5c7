"""Head for pixels of ordered levels: a discretised mixture of logistics (Salimans et al., "PixelCNN++", ICLR 2017).

The mass of a bin is exact here; with the published code's approximation for small masses, the masses do not sum to one.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...checks import check_levels
from ...numerics import scaled
from .base import LOG_SCALE_MIN, Head, choose, within

LOG_SCALE_MAX = 20.0
"""Upper bound of log-scales, beyond which masses overflow."""


def log_mass(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Return the log-mass that a logistic puts on the bin of level ``x`` in [-1, 1]; outer bins extend to infinity.

    With ``a, b = (x +- h - mean) / s`` and half a bin ``h = 1 / (levels - 1)``: ``log(sigmoid(a) - sigmoid(b)) =
    logsig(a) + logsig(-b) + log(1 - exp(b - a))``.
    """
    half, inverse = 1 / (levels - 1), torch.exp(-log_scale)
    above, below = (x + half - mean) * inverse, (x - half - mean) * inverse
    inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-2 * half * inverse))
    lowest, highest = x < -1 + half, x > 1 - half
    return torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), inside))


class DiscretisedLogisticMixture(Head):
    """Mixture of ``components`` logistics over levels 0 to ``levels - 1`` (int64, uint8) of a pixel's ``channels``
    (None: one channel, and the event is a single number).

    A component is chosen for the whole pixel. The mean of a channel is shifted by the channels before it: green by
    c1 r, blue by c2 r + c3 g, each c the tanh of a parameter. Parameters: K logits, then C means, C log-scales and the
    couplings of each component: 10 K for colour, 3 K for one channel.
    """

    def __init__(self, levels: int, channels: int | None = None, components: int = 10, width: int = 32) -> None:
        super().__init__()
        check_levels(levels)
        if components < 1 or (channels is not None and channels < 1):
            raise ValueError(f"a mixture has at least 1 component and 1 channel, not {components} and {channels}")
        self.event = () if channels is None else (channels,)
        self.levels, self.components, self.channels, self.width = levels, components, channels or 1, width
        self.couplings = self.channels * (self.channels - 1) // 2
        self.size = components * (1 + 2 * self.channels + self.couplings)
        self.value = nn.Linear(self.channels, width)

    def embed(self, x: Tensor) -> Tensor:
        """Map events [..., C] to embeddings [..., width]."""
        embedded: Tensor = self.value(self._scaled(x, self.value.weight.dtype))
        return embedded

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return ``log sum_k pi_k prod_c mass(x_c)``."""
        logits, mean, log_scale, coupling = self._split(parameters)
        value = self._scaled(x, parameters.dtype).unsqueeze(-2)  # [..., 1, C]
        means = torch.stack([self._mean(c, mean, coupling, value) for c in range(self.channels)], dim=-1)
        each = log_mass(value, means, log_scale, self.levels).sum(-1)
        return (torch.log_softmax(logits, -1) + each).logsumexp(-1)

    def sample(self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample levels, int64: each logistic draw is rounded to the level whose bin it falls into."""
        logits, *rest = self._split(parameters)
        component = choose(logits, temperature, generator)[..., None, None]
        mean, log_scale, coupling = (
            y.gather(-2, component.expand(*logits.shape[:-1], 1, y.shape[-1])).squeeze(-2) for y in rest
        )
        value = torch.zeros_like(mean)
        for c in range(self.channels):
            uniform = torch.rand(mean.shape[:-1], generator=generator, device=mean.device, dtype=torch.float64)
            logistic = torch.logit(uniform, eps=1e-12).to(mean.dtype)
            drawn = self._mean(c, mean, coupling, value) + temperature * log_scale[..., c].exp() * logistic
            level = ((drawn.clamp(-1, 1) + 1) / 2 * (self.levels - 1)).round()
            value[..., c] = scaled(level, self.levels, level.dtype)
        levels = ((value + 1) / 2 * (self.levels - 1)).round().long()
        return levels if self.event else levels.squeeze(-1)

    def support(self) -> Tensor:
        """Return all levels, or all colours."""
        colours = torch.tensor(list(itertools.product(range(self.levels), repeat=self.channels)))
        return (colours if self.event else colours.squeeze(-1)).to(self.value.weight.device)

    def _mean(self, c: int, mean: Tensor, coupling: Tensor, value: Tensor) -> Tensor:
        """Return the mean of channel c, [..., K] or [...], given the ``value`` of the channels before it."""
        start = c * (c - 1) // 2
        return mean[..., c] + (coupling[..., start : start + c] * value[..., :c]).sum(-1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Split into logits [..., K], means and log-scales [..., K, C] and couplings [..., K, couplings]."""
        K, C = self.components, self.channels
        logits, rest = torch.split(parameters, [K, self.size - K], dim=-1)
        mean, log_scale, coupling = torch.split(torch.unflatten(rest, -1, (K, -1)), [C, C, self.couplings], dim=-1)
        return logits, mean, log_scale.clamp(LOG_SCALE_MIN, LOG_SCALE_MAX), torch.tanh(coupling)

    def _scaled(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Map levels to [-1, 1], [..., C]."""
        return scaled(within(self.checked(x) if self.event else x.unsqueeze(-1), self.levels - 1), self.levels, dtype)
