"""Counter-based random numbers in torch: each number is a hash of the keys that identify it.

SplitMix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), chained
over the keys as in Labyrinth's kernels. A number therefore depends neither on the batch it is drawn in nor on the
device, and a generator's state is a counter. Tensors are int64 and wrap, which is arithmetic modulo 2**64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(bits: int) -> int:
    """Return the int64 with the same 64 bits as the unsigned ``bits``."""
    return (bits + 2**63) % 2**64 - 2**63


GOLDEN = _signed(0x9E3779B97F4A7C15)
MIX_1 = _signed(0xBF58476D1CE4E5B9)
MIX_2 = _signed(0x94D049BB133111EB)


def mix64(x: Tensor) -> Tensor:
    """Apply SplitMix64's finaliser, a bijection of 64 bits. ``x`` is overwritten."""
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        x.bitwise_xor_(_down(x, shift)).mul_(factor)
    return x.bitwise_xor_(_down(x, 31))


def _down(x: Tensor, shift: int) -> Tensor:
    """Shift right, filling with zeros; torch's own shift fills with the sign."""
    return (x >> shift).bitwise_and_((1 << (64 - shift)) - 1)


def random_bits(seed: Tensor, *keys: Tensor | int) -> Tensor:
    """Return 64 random bits, int64, for each combination of ``seed`` and ``keys``, broadcast against each other."""
    x = mix64(seed + GOLDEN)
    for key in keys:
        x = mix64(x + ((key + 1) * GOLDEN if isinstance(key, Tensor) else _signed((key + 1) * GOLDEN)))
    return x


def random_bytes(bits: Tensor, count: int) -> Tensor:
    """Return [B, count] uniform uint8 from random ``bits`` [B]."""
    draws = torch.arange((count + 7) // 8, device=bits.device)
    return random_bits_after(bits.unsqueeze(-1), draws).view(torch.uint8)[:, :count]


def random_bits_after(bits: Tensor, key: Tensor) -> Tensor:
    """Return ``random_bits(..., key)`` where ``bits`` is ``random_bits(...)``."""
    return mix64(bits + (key + 1) * GOLDEN)


def uniform(bits: Tensor) -> Tensor:
    """Return float32 in [0, 1) from the upper 24 of random ``bits``."""
    return _down(bits, 40).float() * 2**-24
