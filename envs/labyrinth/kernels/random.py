"""Counter-based random numbers inside Warp kernels.

Each number is a hash of (seed, global environment index, episode, draw) and of nothing else. An episode is therefore
the same for any batch size, number of threads or ranks, and device. The hash chains the 64-bit finaliser
of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), a bijection:
two environments of one seed never share a stream.
"""

from __future__ import annotations

import warp as wp

from .arrays import Worlds

GOLDEN = wp.constant(wp.uint64(0x9E3779B97F4A7C15))
MIX_1 = wp.constant(wp.uint64(0xBF58476D1CE4E5B9))
MIX_2 = wp.constant(wp.uint64(0x94D049BB133111EB))


@wp.func
def mix64(x: wp.uint64) -> wp.uint64:
    """Return SplitMix64's finaliser of ``x``."""
    x = (x ^ (x >> wp.uint64(30))) * MIX_1
    x = (x ^ (x >> wp.uint64(27))) * MIX_2
    return x ^ (x >> wp.uint64(31))


@wp.func
def random_bits(seed: wp.int64, index: wp.int64, episode: wp.int64, draw: wp.int32) -> wp.uint64:
    """Return 64 random bits, the ``draw``-th of this environment's episode."""
    x = mix64(wp.uint64(seed) + GOLDEN)
    x = mix64(x + (wp.uint64(index) + wp.uint64(1)) * GOLDEN)
    x = mix64(x + (wp.uint64(episode) + wp.uint64(1)) * GOLDEN)
    return mix64(x + (wp.uint64(draw) + wp.uint64(1)) * GOLDEN)


@wp.func
def unit_float(bits: wp.uint64) -> wp.float32:
    """Return the upper 24 bits as a float32 in [0, 1)."""
    return wp.float32(bits >> wp.uint64(40)) * wp.float32(5.9604644775390625e-08)


@wp.func
def below(bits: wp.uint64, count: wp.int32) -> wp.int32:
    """Return the upper 32 bits as an integer in [0, count), by multiplication: bias below count / 2**32."""
    return wp.int32(((bits >> wp.uint64(32)) * wp.uint64(count)) >> wp.uint64(32))


@wp.func
def next_bits(w: Worlds, e: int) -> wp.uint64:
    """Return the next 64 random bits of environment ``e``'s episode."""
    draw = w.draw[e]
    w.draw[e] = draw + 1
    return random_bits(w.seed[e], w.env_index[e], w.episode[e], draw)


@wp.func
def next_unit(w: Worlds, e: int) -> wp.float32:
    """Return the next random number in [0, 1)."""
    return unit_float(next_bits(w, e))


@wp.func
def next_below(w: Worlds, e: int, count: int) -> int:
    """Return the next random integer in [0, count)."""
    return below(next_bits(w, e), count)
