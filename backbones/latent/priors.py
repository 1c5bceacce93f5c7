"""p(z), or p(z given context): what is expected of a code before its item is seen."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .codes import Code, Gaussian, UnitGaussian
from .kl import gaussian_kl, unit_gaussian_kl
from .layers import dtype_of, perceptron


class Prior(nn.Module, abc.ABC):
    """A density over codes [B, Z], given a ``context`` [B, C] if it was built for one."""

    size: int | None = None  # Z; None: not known beforehand

    @abc.abstractmethod
    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """[B, Z] -> [B], nats."""

    @abc.abstractmethod
    def sample(
        self, count: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """[count, Z]."""

    def kl(self, code: Code, context: Tensor | None = None) -> Tensor | None:
        """KL(q || p) of each item and group [B, G], nats; None where it has no closed form: then it is estimated, for
        the whole code at once, by the ``ln q(z) - ln p(z)`` of the code that is drawn.
        """
        return None


class GaussianPrior(Prior):
    """Independent Gaussian numbers, in ``groups`` of equal size, neighbours together; None: each is its own group."""

    def __init__(self, size: int, groups: int | None = None) -> None:
        super().__init__()
        self.size, self.groups = size, size if groups is None else groups
        if self.groups < 1 or size % self.groups:
            raise ValueError(f"{size} numbers do not make {groups} groups of equal size")

    @abc.abstractmethod
    def gaussian(self, context: Tensor | None) -> Gaussian:
        """[B, Z], or [Z] for whichever item. ValueError for a context that is missing, or that is not read."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """[B, Z] -> [B]."""
        return self.gaussian(context).log_prob(z)

    def sample(
        self, count: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """[count, Z]; of a context [count, C], one of each of its rows."""
        mean, log_scale = self.gaussian(context)
        return Gaussian(mean.expand(count, -1), log_scale).sample(generator)

    def kl(self, code: Code, context: Tensor | None = None) -> Tensor | None:
        """[B, G], against Gaussians."""
        prior = self.gaussian(context)
        if isinstance(code, Gaussian):
            each = gaussian_kl(code.mean, code.log_scale, prior.mean, prior.log_scale)
        elif isinstance(code, UnitGaussian):
            each = unit_gaussian_kl(code.mean, prior.mean, prior.log_scale)
        else:
            return None
        return each.reshape(len(each), self.groups, -1).sum(-1)


class Standard(GaussianPrior):
    """N(0, I)."""

    zeros: Tensor

    def __init__(self, size: int, groups: int | None = None) -> None:
        super().__init__(size, groups)
        self.register_buffer("zeros", torch.zeros(size), persistent=False)

    def gaussian(self, context: Tensor | None) -> Gaussian:
        """[Z]."""
        _nothing(context)
        return Gaussian(self.zeros, self.zeros)


class Learned(GaussianPrior):
    """A mean and a scale a number, which training fits to the codes of all items; N(0, I) at first."""

    def __init__(self, size: int, groups: int | None = None) -> None:
        super().__init__(size, groups)
        self.mean, self.log_scale = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))

    def gaussian(self, context: Tensor | None) -> Gaussian:
        """[Z]."""
        _nothing(context)
        return Gaussian(self.mean, self.log_scale)


class Conditional(GaussianPrior):
    """Mean and scale by a perceptron from a context [B, C]: a neighbour's code (an associative compression network), a
    code one level up, a memory of what came before (a world model).
    """

    def __init__(
        self, size: int, groups: int | None = None, *, context: int, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__(size, groups)
        self.layers = perceptron(context, hidden, 2 * size)

    def gaussian(self, context: Tensor | None) -> Gaussian:
        """[B, Z]."""
        if context is None:
            raise ValueError("a conditional prior needs a context [B, C]")
        mean, log_scale = self.layers(context.to(dtype_of(self))).chunk(2, dim=-1)
        return Gaussian(mean, log_scale)


def _nothing(context: Tensor | None) -> None:
    if context is not None:
        raise ValueError("this prior reads no context: use Conditional")


PRIORS: dict[str, type[GaussianPrior]] = {"standard": Standard, "learned": Learned, "conditional": Conditional}
