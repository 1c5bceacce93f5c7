"""Random numbers of a module's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Draws(nn.Module):
    """Random numbers of a module's own, on the device of what they are drawn for, and part of the module's state. The
    seed is drawn from torch's generator when the module is built. States of another kind of device do not fit: there
    the numbers begin anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self._state: Tensor | None = None  # to go on from, once it is known on which device

    def on(self, device: torch.device) -> torch.Generator:
        """The generator."""
        if self._generator.device != device:  # the module has moved
            self._generator = torch.Generator(device).manual_seed(self._generator.initial_seed())
        if self._state is not None:
            set_state(self._generator, self._state)
            self._state = None
        return self._generator

    def get_extra_state(self) -> Tensor:
        """[..] uint8."""
        return self._generator.get_state() if self._state is None else self._state

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from ``get_extra_state``."""
        self._state = state.cpu().clone()


def set_state(generator: torch.Generator, state: Tensor) -> bool:
    """Go on from ``state``, if it is one of the same kind of device."""
    fits = len(state) == len(generator.get_state())
    if fits:
        generator.set_state(state.cpu())
    return fits
