"""Decoders p(x given z): distributions of an item given its code."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..autoregressive import Autoregressive, Given, Head, Ordering
from ..checks import check_temperature
from ..numerics import at_least_float32
from .layers import dtype_of, perceptron


class Decoder(nn.Module, abc.ABC):
    """Distribution over items [B, *shape] given codes [B, Z]."""

    size: int | None = None  # Z; None: not known beforehand

    @abc.abstractmethod
    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Return ``ln p(x given z)``, [B] in nats."""

    @abc.abstractmethod
    def sample(self, z: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample items [B, *shape]; ``temperature`` 0 gives the likeliest, event by event."""


class FactorisedDecoder(Decoder):
    """Decoder whose events are independent given the code, so that the code must carry all their dependence.

    ``network(Z, places, head.size)`` builds the module that maps codes to the head's parameters
    [B, *places, head.size].
    """

    def __init__(
        self, ordering: Ordering, head: Head, codes: int, network: Callable[[int, tuple[int, ...], int], nn.Module]
    ) -> None:
        super().__init__()
        ordering.check(head.event)
        self.ordering, self.head, self.size = ordering, head, codes
        self.network = network(codes, ordering.places, head.size)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Return ``ln p(x given z)``, [B] in nats."""
        return self.head.log_prob(self.parameters_of(z), self.ordering.to_sequence(x)).sum(0)

    @torch.no_grad()
    def sample(self, z: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample items [B, *shape]."""
        check_temperature(temperature)
        return self.ordering.from_sequence(self.head.sample(self.parameters_of(z), temperature, generator))

    def parameters_of(self, z: Tensor) -> Tensor:
        """Return the head's parameters [T, B, head.size]."""
        return at_least_float32(self.ordering.to_sequence(self.network(z.to(dtype_of(self)))))


class AutoregressiveDecoder(Decoder):
    """Decoder by an autoregressive ``model``: each event depends on the code and on the events before it.

    The model must be built with ``GivenSizes(glob=Z)``.
    """

    def __init__(self, model: Autoregressive) -> None:
        super().__init__()
        self.model, self.size = model, model.conditioner.sizes.glob
        if not self.size:
            raise ValueError("an autoregressive decoder takes its code as glob: build it with GivenSizes(glob=Z)")

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Return ``ln p(x given z)``, [B] in nats."""
        return self.model.log_prob(x, self._given(z))

    def sample(self, z: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample items [B, *shape]."""
        return self.model.sample(len(z), self._given(z), temperature=temperature, generator=generator)

    def _given(self, z: Tensor) -> Given:
        return Given(glob=z.to(dtype_of(self.model)))


class Flat(nn.Module):
    """Perceptron from codes to parameters, for places of any shape."""

    def __init__(self, codes: int, places: tuple[int, ...], size: int, *, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.layers = perceptron(codes, hidden, math.prod(places) * size)
        self.shape = (*places, size)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes [B, Z] to parameters [B, *places, size]."""
        parameters: Tensor = self.layers(z)
        return parameters.reshape(-1, *self.shape)


class Deconvolution(nn.Module):
    """Linear layer and two 4 x 4 transposed convolutions of stride 2, to images [H, W] or [H, W, C] of any size."""

    def __init__(self, codes: int, places: tuple[int, ...], size: int, *, channels: int = 32) -> None:
        super().__init__()
        self.height, self.width, *colours = places
        self.small = (channels, math.ceil(self.height / 4), math.ceil(self.width / 4))
        self.each = (*colours, size)
        self.linear = nn.Linear(codes, math.prod(self.small))
        self.first = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
        self.second = nn.ConvTranspose2d(channels, math.prod(self.each), 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes [B, Z] to parameters [B, *places, size]."""
        y = F.relu(self.linear(z)).reshape(-1, *self.small)
        y = self.second(F.relu(self.first(y)))
        image: Tensor = y[..., : self.height, : self.width]
        return image.permute(0, 2, 3, 1).reshape(-1, self.height, self.width, *self.each)
