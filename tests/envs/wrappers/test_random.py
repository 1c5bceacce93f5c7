"""Numbers by position: as Python's integers have them, uniform, and independent of their neighbours."""

import math

import torch
import warp as wp

from morello.envs.labyrinth.kernels.random import random_bits as labyrinth_bits
from morello.envs.wrappers.random import random_bits, random_bits_after, random_bytes, uniform

from ...support.splitmix import WORD, chained


@wp.kernel
def ask_labyrinth(seed: wp.int64, index: wp.int64, episode: wp.int64, answers: wp.array(dtype=wp.uint64)):
    draw = wp.tid()
    answers[draw] = labyrinth_bits(seed, index, episode, draw)


def test_published_values_of_splitmix64():
    """The first five outputs of the generator with seed 1234567, as the reference implementation in C prints them."""
    bits = random_bits_after(torch.full((5,), 1234567), torch.arange(5))
    assert [b % WORD for b in bits.tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_the_chain_is_that_of_python_integers():
    seed = torch.tensor([0, 1, -1, 2**62 + 12345, -(2**63), 99], dtype=torch.int64)
    index, count = torch.arange(6) * 7, torch.tensor([0, 2, 3, 5, 2**40, 11])
    stream = int.from_bytes(b"StickyAc", "big")
    bits = random_bits(seed, stream, index, count)
    for b in range(6):
        assert int(bits[b]) % WORD == chained(int(seed[b]), stream, 7 * b, int(count[b]))
    assert seed.tolist() == [0, 1, -1, 2**62 + 12345, -(2**63), 99]  # keys are only read


def test_the_chain_is_that_of_labyrinths_kernels():
    answers = wp.zeros(13, dtype=wp.uint64)
    wp.launch(ask_labyrinth, 13, [wp.int64(-5), wp.int64(3), wp.int64(8)], [answers])
    bits = random_bits(torch.full((13,), -5), 3, 8, torch.arange(13))
    assert [b % WORD for b in bits.tolist()] == answers.numpy().tolist()


def test_bytes_are_those_of_the_words_in_order():
    bits = random_bits(torch.tensor([3, 4]), 5)
    rows = random_bytes(bits, 19)
    for b, seed in enumerate((3, 4)):
        words = [chained(seed, 5, draw) for draw in range(3)]
        assert bytes(rows[b].tolist()) == b"".join(w.to_bytes(8, "little") for w in words)[:19]


def grid():
    """[seeds, indices, counts] in [0, 1)."""
    seeds, indices, counts = torch.arange(11).view(-1, 1, 1), torch.arange(61).view(-1, 1), torch.arange(151)
    return uniform(random_bits(seeds, 7, indices, counts)).double()


def test_numbers_are_uniform():
    u = grid()
    assert 0 <= float(u.min()) < 1e-4
    assert 1 - 1e-4 < float(u.max()) < 1
    observed = torch.histc(u, 97, 0, 1)
    expected = u.numel() / 97
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    assert abs(chi_square - 96) < 4 * math.sqrt(2 * 96)


def test_each_bit_is_set_half_the_time():
    bits = random_bits(torch.tensor(2), torch.arange(8191))
    share = torch.stack([(bits >> k) & 1 for k in range(64)]).double().mean(1)
    assert float((share - 0.5).abs().max()) < 4.5 * 0.5 / math.sqrt(8191)


def test_neighbours_are_independent():
    """Correlation with the next seed, index and count, and that index and count do not commute."""
    u = grid() - 0.5

    def correlation(a, b):
        return float((a * b).mean() * 12 * math.sqrt(a.numel()))  # standard normal where independent

    assert abs(correlation(u[1:], u[:-1])) < 4
    assert abs(correlation(u[:, 1:], u[:, :-1])) < 4
    assert abs(correlation(u[..., 1:], u[..., :-1])) < 4
    assert abs(correlation(u[:, :, :61], u[:, :, :61].transpose(1, 2).contiguous()) - math.sqrt(11 * 61 * 61) / 61) < 4
    assert correlation(u, u) > 100  # what it says of equal numbers
