"""Interface of output heads: the distribution of one event, given a network's features."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn


class Head(nn.Module, abc.ABC):
    """Distribution over events of shape ``event``, with ``size`` parameters per event.

    ``embed`` gives the form in which an event re-enters the network. Shapes are [..., *event] and [..., size], with any
    leading axes.
    """

    event: tuple[int, ...] = ()
    size: int
    width: int  # of an event's embedding

    @abc.abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Map events to embeddings [..., width]."""

    @abc.abstractmethod
    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return the log-probability, or log-density, of events, [...] in nats."""

    @abc.abstractmethod
    def sample(self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Sample events; ``temperature`` 0 gives the likeliest, or the centre of the likeliest component."""

    def checked(self, x: Tensor) -> Tensor:
        """Return ``x``; raise ValueError if its shape does not end with ``event``, since it would be broadcast."""
        if x.shape[x.dim() - len(self.event) :] != self.event:
            raise ValueError(f"events are of shape {self.event}, but {list(x.shape)} does not end with it")
        return x

    def support(self) -> Tensor | None:
        """Return all possible events [S, *event], or None where they cannot be listed."""
        return None


def choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Sample indices [...] int64 from ``softmax(logits / temperature)``, logits [..., N], by Gumbel-max.

    Temperature 0 gives the index of the largest logit.
    """
    if temperature == 0:
        return logits.argmax(-1)
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=torch.float64)
    gumbel = -(-uniform.clamp(min=torch.finfo(torch.float64).tiny).log()).log()
    return (logits.double() / temperature + gumbel).argmax(-1)


def within(x: Tensor, highest: int, *, whole: bool = True) -> Tensor:
    """Return ``x`` after checking that it lies in 0 to ``highest``, in ``whole`` numbers if so asked.

    Raises ValueError for floats where numbers must be whole, RuntimeError for values out of range; the latter is
    checked on the device without synchronisation.
    """
    if whole and x.is_floating_point():
        raise ValueError(f"symbols are whole numbers from 0 to {highest}: int64 or uint8, not {x.dtype}")
    torch._assert_async(((x >= 0) & (x <= highest)).all(), f"an event lies outside 0 to {highest}")
    return x


LOG_SCALE_MIN = -7.0
"""Lower bound of log-scales. A density is unbounded, so that a repeated number could reach infinite log-density; and
gradients of masses overflow at smaller scales."""
