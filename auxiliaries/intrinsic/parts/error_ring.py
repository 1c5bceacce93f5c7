"""A ring of the newest transitions and the errors of their prediction, on the device."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn


def places(valid: Bool[Tensor, " N"], seen: Tensor, size: int) -> Int[Tensor, " N"]:
    """Compute where in a ring of ``size`` that has ``seen`` so many each valid row belongs; ``size`` for rows that are
    not valid, or that newer ones replace at once: no place is written twice.
    """
    rank = valid.cumsum(0) - 1
    kept = valid & (rank >= valid.sum() - size)
    return torch.where(kept, (seen + rank) % size, size)


class Ring(nn.Module):
    """The newest transitions' features, actions and errors; written in place, without waiting for a device."""

    phi: Tensor
    action: Tensor
    error: Tensor
    seen: Tensor

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.size = size
        # One row more than there is room for takes what is not to be kept.
        self.register_buffer("phi", torch.zeros(size + 1, features))
        self.register_buffer("action", torch.zeros(size + 1, dtype=torch.int64))
        self.register_buffer("error", torch.zeros(size + 1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def filled(self) -> Bool[Tensor, " rows"]:
        """Return which rows hold something."""
        return torch.arange(self.size + 1, device=self.seen.device) < self.seen.clamp(max=self.size)

    @property
    def mean(self) -> Tensor:
        """Return the mean error []; 0 if there is none."""
        return torch.where(self.filled, self.error, 0.0).sum() / self.seen.clamp(1, self.size)

    def add(self, phi: Tensor, action: Tensor, error: Tensor, valid: Tensor) -> None:
        """Add the ``valid`` rows of [T, B, ...] in the order of time; the newest replace the oldest."""
        place = places(valid.flatten(), self.seen, self.size)
        for mine, new in ((self.phi, phi), (self.action, action), (self.error, error)):
            mine.index_copy_(0, place, new.flatten(0, 1).to(mine.dtype))
        self.seen += valid.sum()

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw ``count`` entries with replacement."""
        drawn = torch.rand(count, generator=generator, device=self.seen.device)
        filled = self.seen.clamp(1, self.size)
        index = (drawn * filled).long().minimum(filled - 1)
        return self.phi[index], self.action[index], self.error[index]
