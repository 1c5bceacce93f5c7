"""What one event is drawn from, given a network's features."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn


class Head(nn.Module, abc.ABC):
    """``size`` parameters an event -> a distribution over events of shape ``event``.

    ``embed`` is how an event re-enters the network. All shapes are [..., *event] and [..., size], whatever is before.
    """

    event: tuple[int, ...] = ()
    size: int
    width: int  # of an embedding

    @abc.abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Events -> [..., width]."""

    @abc.abstractmethod
    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """[...], nats: the log-probability, or log-density, of events."""

    @abc.abstractmethod
    def sample(
        self, parameters: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Events. ``temperature`` 0: the likeliest, or the centre of the likeliest component."""

    def checked(self, x: Tensor) -> Tensor:
        """``x``, if it is of events. ValueError if not: a narrower one would be broadcast."""
        if x.shape[x.dim() - len(self.event) :] != self.event:
            raise ValueError(f"events are of shape {self.event}, and {list(x.shape)} does not end with it")
        return x

    def support(self) -> Tensor | None:
        """[S, *event], all events there are; None where they cannot be listed."""
        return None


def choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """[..., N] -> [...] int64: an index by ``softmax(logits / temperature)``, by Gumbel-max; at 0 the largest."""
    if temperature == 0:
        return logits.argmax(-1)
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=torch.float64)
    gumbel = -(-uniform.clamp(min=torch.finfo(torch.float64).tiny).log()).log()
    return (logits.double() / temperature + gumbel).argmax(-1)


def within(x: Tensor, highest: int, *, whole: bool = True) -> Tensor:
    """``x``, if it lies in 0 to ``highest``, in ``whole`` numbers. ValueError for floats where they must be whole,
    RuntimeError for what lies outside; that is checked on the device, which nobody waits for.
    """
    if whole and x.is_floating_point():
        raise ValueError(f"symbols are whole numbers from 0 to {highest}: int64 or uint8, not {x.dtype}")
    torch._assert_async(((x >= 0) & (x <= highest)).all(), f"an event lies outside 0 to {highest}")
    return x


LOG_SCALE_MIN = -7.0
"""No narrower: a density has no upper end, and one repeated number would be worth infinitely much; slopes of masses
overflow."""
