"""Posteriors q(z given x), from an encoder's features."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from .codes import Code, Delta, Gaussian, UnitGaussian


class Posterior(nn.Module, abc.ABC):
    """Linear map from features [B, F] to a distribution over codes [B, Z]; built as ``Class(features, size)``."""

    size: int | None = None  # Z; None: not known beforehand

    @abc.abstractmethod
    def forward(self, features: Tensor) -> Code:
        """Map features [B, F] to q over codes [B, Z]."""


class Deterministic(Posterior):
    """Point mass: the code of an autoencoder."""

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.mean = nn.Linear(features, size)

    def forward(self, features: Tensor) -> Delta:
        """Map features [B, F] to q over codes [B, Z]."""
        return Delta(self.mean(features))


class DiagonalGaussian(Posterior):
    """Mean and scale of each component (Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014)."""

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.mean, self.log_scale = nn.Linear(features, size), nn.Linear(features, size)

    def forward(self, features: Tensor) -> Gaussian:
        """Map features [B, F] to q over codes [B, Z]."""
        return Gaussian(self.mean(features), self.log_scale(features))


class UnitVarianceGaussian(Posterior):
    """Mean of each component, with variance 1.

    Graves, Menick and van den Oord, "Associative compression networks for representation learning" (2018).
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.mean = nn.Linear(features, size)

    def forward(self, features: Tensor) -> UnitGaussian:
        """Map features [B, F] to q over codes [B, Z]."""
        return UnitGaussian(self.mean(features))


POSTERIORS: dict[str, type[Posterior]] = {
    "deterministic": Deterministic,
    "gaussian": DiagonalGaussian,
    "unit-gaussian": UnitVarianceGaussian,
}
