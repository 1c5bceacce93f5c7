"""Priors p(z), or p(z given context), of codes."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .codes import Code, Gaussian, UnitGaussian
from .kl import gaussian_kl, unit_gaussian_kl
from .layers import dtype_of, perceptron


class Prior(nn.Module, abc.ABC):
    """Density over codes [B, Z], given a ``context`` [B, C] if it was built for one."""

    size: int | None = None  # Z; None: not known beforehand

    @abc.abstractmethod
    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density, [B] in nats, of codes [B, Z]."""

    @abc.abstractmethod
    def sample(self, count: int, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Sample codes [count, Z]."""

    def kl(self, code: Code, context: Tensor | None = None) -> Tensor | None:
        """Return KL(q || p) of each item and group, [B, G] in nats, or None where it has no closed form.

        It is then estimated, for the whole code at once, by ``ln q(z) - ln p(z)`` of the sampled code.
        """
        return None


class GaussianPrior(Prior):
    """Independent Gaussian components, in ``groups`` of adjacent ones, of equal size; None: one group each."""

    def __init__(self, size: int, groups: int | None = None) -> None:
        super().__init__()
        self.size, self.groups = size, size if groups is None else groups
        if self.groups < 1 or size % self.groups:
            raise ValueError(f"{size} numbers do not make {groups} groups of equal size")

    @abc.abstractmethod
    def gaussian(self, context: Tensor | None) -> Gaussian:
        """Return the prior [B, Z], or [Z] if it is the same for all items.

        Raises ValueError for a context that is missing or not used.
        """

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density, [B] in nats, of codes [B, Z]."""
        return self.gaussian(context).log_prob(z)

    def sample(self, count: int, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Sample codes [count, Z], with a context [count, C] one for each of its rows."""
        mean, log_scale = self.gaussian(context)
        return Gaussian(mean.expand(count, -1), log_scale).sample(generator)

    def kl(self, code: Code, context: Tensor | None = None) -> Tensor | None:
        """Return the KL [B, G] of Gaussian codes, None for others."""
        prior = self.gaussian(context)
        if isinstance(code, Gaussian):
            each = gaussian_kl(code.mean, code.log_scale, prior.mean, prior.log_scale)
        elif isinstance(code, UnitGaussian):
            each = unit_gaussian_kl(code.mean, prior.mean, prior.log_scale)
        else:
            return None
        return each.reshape(len(each), self.groups, -1).sum(-1)


class Standard(GaussianPrior):
    """Standard normal prior N(0, I)."""

    zeros: Tensor

    def __init__(self, size: int, groups: int | None = None) -> None:
        super().__init__(size, groups)
        self.register_buffer("zeros", torch.zeros(size), persistent=False)

    def gaussian(self, context: Tensor | None) -> Gaussian:
        """Return the prior [Z]."""
        _nothing(context)
        return Gaussian(self.zeros, self.zeros)


class Learned(GaussianPrior):
    """Prior with a trained mean and scale of each component, shared by all items; N(0, I) at initialisation."""

    def __init__(self, size: int, groups: int | None = None) -> None:
        super().__init__(size, groups)
        self.mean, self.log_scale = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))

    def gaussian(self, context: Tensor | None) -> Gaussian:
        """Return the prior [Z]."""
        _nothing(context)
        return Gaussian(self.mean, self.log_scale)


class Conditional(GaussianPrior):
    """Prior whose mean and scale are computed by a perceptron from a context [B, C].

    The context may be a neighbour's code (an associative compression network), a code one level up, or a memory of the
    past (a world model).
    """

    def __init__(self, size: int, groups: int | None = None, *, context: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__(size, groups)
        self.layers = perceptron(context, hidden, 2 * size)

    def gaussian(self, context: Tensor | None) -> Gaussian:
        """Return the prior [B, Z]."""
        if context is None:
            raise ValueError("a conditional prior needs a context [B, C]")
        mean, log_scale = self.layers(context.to(dtype_of(self))).chunk(2, dim=-1)
        return Gaussian(mean, log_scale)


def _nothing(context: Tensor | None) -> None:
    if context is not None:
        raise ValueError("this prior reads no context: use Conditional")


PRIORS: dict[str, type[GaussianPrior]] = {"standard": Standard, "learned": Learned, "conditional": Conditional}
