"""The counter generator equals its definition, is uniform, and does not collide."""

import numpy as np
import torch
import warp as wp
from numpy.typing import NDArray

from morello.envs.labyrinth.kernels.arrays import view
from morello.envs.labyrinth.kernels.random import below, random_bits, unit_float

wp.set_module_options({"enable_backward": False})


@wp.kernel
def draw(
    keys: wp.array2d(dtype=wp.int64),
    count: int,
    bits: wp.array(dtype=wp.int64),
    unit: wp.array(dtype=wp.float32),
    integer: wp.array(dtype=wp.int32),
):
    n = wp.tid()
    b = random_bits(keys[n, 0], keys[n, 1], keys[n, 2], int(keys[n, 3]))
    bits[n] = wp.int64(b)
    unit[n] = unit_float(b)
    integer[n] = below(b, count)


def kernel(keys: NDArray[np.int64], count: int = 7) -> tuple[NDArray[np.uint64], NDArray, NDArray]:
    n = len(keys)
    given = torch.from_numpy(keys)
    out = torch.zeros(n, dtype=torch.int64), torch.zeros(n), torch.zeros(n, dtype=torch.int32)
    wp.launch(draw, n, [view(given), count, *map(view, out)], device="cpu")
    return out[0].numpy().view(np.uint64), out[1].numpy(), out[2].numpy()


def transcription(keys: NDArray[np.int64]) -> list[int]:
    """Python's integers, kept to 64 bits."""
    mask, golden = (1 << 64) - 1, 0x9E3779B97F4A7C15
    out = []
    for key in keys.tolist():
        x = key[0]
        for n, part in enumerate([golden, *((k + 1) * golden for k in key[1:])]):
            x = (x + part) & mask
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                x = ((x ^ (x >> shift)) * factor) & mask
            x ^= x >> 31
        out.append(x)
    return out


def test_bits_equal_their_definition() -> None:
    keys = np.random.default_rng(0).integers(0, [2**62, 2**40, 2**33, 2**30], size=(301, 4))
    keys[:5] = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [-1, 3, 2, 1]]
    bits, unit, integer = kernel(keys, 7)
    assert bits.tolist() == transcription(keys)
    assert unit.tolist() == [(b >> 40) / 2**24 for b in bits.tolist()]
    assert integer.tolist() == [((b >> 32) * 7) >> 32 for b in bits.tolist()]


def test_the_finaliser_is_splitmix64s() -> None:
    # SplitMix64 from state 0 begins with this number: the finaliser of the golden gamma
    bits, *_ = kernel(np.array([[0, -1, -1, -1]]))
    x = 0xE220A8397B1DCDAF
    for _ in range(3):
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = ((x ^ (x >> shift)) * factor) % 2**64
        x ^= x >> 31
    assert bits[0] == x


def test_numbers_are_uniform_along_every_key() -> None:
    for axis in range(4):
        keys = np.full((70001, 4), 3)
        keys[:, axis] = np.arange(70001)
        _, unit, integer = kernel(keys, 7)
        assert abs(unit.mean() - 0.5) < 0.005
        assert 0 <= unit.min() < 0.001 < 0.999 < unit.max() < 1
        counts = np.bincount(integer, minlength=7)
        assert ((counts - 10000) ** 2 / 10000).sum() < 22.5  # chi-square, 6 degrees of freedom: p = 0.001
        assert abs(np.corrcoef(unit[:-1], unit[1:])[0, 1]) < 0.02


def test_streams_of_many_environments_do_not_collide() -> None:
    index, draw_ = np.meshgrid(np.arange(200_003), np.arange(5), indexing="ij")
    keys = np.stack([np.full_like(index, 11), index, np.zeros_like(index), draw_], -1).reshape(-1, 4)
    bits, *_ = kernel(keys)
    assert len(np.unique(bits)) == len(bits)
