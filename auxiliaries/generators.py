"""Separate random number generators of modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Draws(nn.Module):
    """A module's own random number generator, on the device where numbers are needed, and part of the module's state.
    The seed is drawn from torch's generator when the module is built. A state from another kind of device does not fit:
    there the generator starts again from its seed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(int(torch.randint(2**62, (), device="cpu")))
        self._state: Tensor | None = None  # loaded state, to be set once the device is known

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator on ``device``."""
        if self._generator.device != device:  # the module has moved
            self._generator = torch.Generator(device).manual_seed(self._generator.initial_seed())
        if self._state is not None:
            set_state(self._generator, self._state)
            self._state = None
        return self._generator

    def get_extra_state(self) -> Tensor:
        """Return the generator's state, [..] uint8."""
        return self._generator.get_state() if self._state is None else self._state

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from ``get_extra_state``."""
        self._state = state.cpu().clone()


def set_state(generator: torch.Generator, state: Tensor) -> bool:
    """Set the state of ``generator`` if it is from the same kind of device. Return whether it was. ValueError for what
    is no generator's state.
    """
    if not isinstance(state, Tensor) or state.dtype != torch.uint8 or state.dim() != 1:
        raise ValueError("a generator's state has to be a tensor of bytes")
    fits = len(state) == len(generator.get_state())
    if fits:
        generator.set_state(state.cpu())
    return fits
