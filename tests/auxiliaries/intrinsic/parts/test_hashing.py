"""Hashes of what is seen, and counts of them."""

from collections import Counter

import pytest
import torch

from morello.auxiliaries.intrinsic.parts.episodes import empty, recall, remember
from morello.auxiliaries.intrinsic.parts.hashing import Counts, Hash, episodic_counts, mixed

from ....support.rollouts import rollout, spec

T, B = 13, 7


def grids(n, H=7, W=5, C=3, codes=11, seed=0):
    return torch.randint(codes, (n, H, W, C), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_equal_grids_hash_equal_and_one_changed_cell_changes_the_hash():
    hashing = Hash(spec(image=(7, 5, 3)))
    images = grids(1).repeat(7 * 5 * 3 + 2, 1, 1, 1)
    for i in range(7 * 5 * 3):
        images[i].flatten()[i] += 1
    found = hashing({"image": images})
    assert found.dtype == torch.int64
    assert found[-1] == found[-2]
    assert len(set(found.tolist())) == 7 * 5 * 3 + 1, "each of the changed ones is another, and none is the first"
    assert torch.equal(found, Hash(spec(image=(7, 5, 3)))({"image": images})), "in every process"


def test_thousands_of_grids_have_thousands_of_hashes_also_in_the_low_bits():
    images = grids(20011, seed=1)
    images[:, 0, 0, 0] = torch.arange(20011) % 251
    images[:, 0, 1, 0] = torch.arange(20011) // 251
    found = Hash(spec(image=(7, 5, 3)))({"image": images})
    assert len(found.unique()) == 20011
    expected = 2**20 * (1 - (1 - 2.0**-20) ** 20011)  # of balls thrown at random into 2^20 boxes
    assert len((found & (2**20 - 1)).unique()) == pytest.approx(expected, abs=60)


def test_values_may_not_change_places():
    """A sum of values would be the same."""
    image = grids(1)
    turned = image.flip(1)
    shifted = image.roll(1, 3)
    found = Hash(spec(image=(7, 5, 3)))({"image": torch.cat([image, turned, shifted])})
    assert len(found.unique()) == 3


def test_vectors_are_equal_within_a_step():
    hashing = Hash(spec(vector=3), step=0.1)
    x = torch.tensor([[0.50, -1.0, 0.0], [0.52, -1.04, 0.04], [0.56, -1.0, 0.0], [0.50, 1.0, 0.0], [-1.0, 0.5, 0.0]])
    a, b, c, d, e = hashing({"vector": x}).tolist()
    assert a == b
    assert len({a, c, d, e}) == 4


def test_an_image_and_a_vector_both_count():
    hashing = Hash(spec(image=(7, 5, 3), vector=2))
    image, vector = grids(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    found = hashing({
        "image": torch.stack([image[i] for i, _ in pairs]),
        "vector": torch.stack([vector[j] for _, j in pairs]),
    })  # fmt: skip
    assert len(found.unique()) == 4


def test_leading_axes_stay():
    image, vector = grids(T * B).view(T, B, 7, 5, 3), torch.randn(T, B, 2)
    hashing = Hash(spec(image=(7, 5, 3), vector=2))
    found = hashing({"image": image, "vector": vector})
    assert found.shape == (T, B)
    assert found[4, 3] == hashing({"image": image[4, 3:4], "vector": vector[4, 3:4]})[0]


@pytest.mark.parametrize("shape", [(36, 44, 3), (84, 84, 3), (90, 20, 1)])
def test_large_images_are_compared_by_the_levels_of_squares(shape):
    """Small noise within a level is the same observation; a square that is lighter is another."""
    H, W, _ = shape
    world = spec(image=shape)
    hashing = Hash(world, side=8, levels=8)
    factor = min(H, W) // 8
    image = torch.full((1, *shape), 48, dtype=torch.uint8)  # amid the level from 32 to 64
    noisy = image + torch.randint(-9, 10, image.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    square = image.clone()
    square[:, :factor, factor : 2 * factor] = 80
    other = image.clone()
    other[:, factor : 2 * factor, :factor] = 80
    a, b, c, d = hashing({"image": torch.cat([image, noisy, square, other])}).tolist()
    assert a == b
    assert len({a, c, d}) == 3


@pytest.mark.parametrize("stacked", [1, 2])
def test_by_default_colour_images_are_compared_by_their_mean_and_grey_ones_by_squares(stacked):
    def keys(images):
        older = torch.zeros_like(images).repeat(1, 1, 1, stacked - 1)
        shape = (*images.shape[1:3], images.shape[-1] * stacked)
        world = spec(image=shape)._replace(stacked=stacked)
        return Hash(world)({"image": torch.cat([older, images], -1)}).tolist()

    plain = torch.full((4, 48, 64, 3), 100, dtype=torch.uint8)
    plain[1, :24], plain[1, 24:] = 90, 110  # of the same mean
    plain[2, ..., 0], plain[2, ..., 1] = 120, 80  # as bright, of another colour
    plain[3] = 105  # in the level from 96 to 112
    a, b, c, d = keys(plain)
    assert a == b == d != c
    a, b, c, d = keys(plain[..., :1])
    assert a == c == d != b  # 8 levels: from 96 to 128
    a, b, *_ = keys(plain[..., [0, 0, 0, 0]])
    assert a != b, "four channels are no colours, but frames stacked without saying so"


def test_of_stacked_frames_the_newest_counts():
    world = spec(image=(7, 5, 6))._replace(stacked=2)
    images = grids(2, C=6)
    images[1, ..., 3:] = images[0, ..., 3:]
    hashing = Hash(world)
    found = hashing({"image": images})
    assert found[0] == found[1]
    assert found[0] == Hash(spec(image=(7, 5, 3)))({"image": images[:1, ..., 3:]})[0]


def test_the_mixer_is_splitmix64s():
    """Against whole numbers of any size: the first outputs of the generator with seed 1234567."""
    golden, state, expected = 0x9E3779B97F4A7C15, 1234567, [6457827717110365317, 3203168211198807973]
    for number in expected:
        state = (state + golden) % 2**64
        signed = state - 2**64 if state >= 2**63 else state
        assert int(mixed(torch.tensor(signed))) % 2**64 == number


def by_counter(keys, valid, seen):
    """Counts in the order of time and then of environments; rows that are not valid do not count."""
    found = torch.zeros_like(keys)
    for t in range(len(keys)):
        for b in range(keys.shape[1]):
            if valid[t, b]:
                seen[int(keys[t, b])] += 1
                found[t, b] = seen[int(keys[t, b])]
    return found


@pytest.mark.parametrize("split", [(13,), (6, 7), (1, 5, 2, 5), (1,) * 13], ids=len)
def test_counts_are_a_counters_in_the_order_of_time_however_the_rollout_is_cut(split):
    g = torch.Generator().manual_seed(len(split))
    keys = torch.randint(17, (T, B), generator=g)
    valid = torch.rand(T, B, generator=g) < 0.8
    counts, seen, t = Counts(6), Counter(), 0
    for length in split:
        part, mask = keys[t : t + length], valid[t : t + length]
        before = counts.table.clone()
        found = counts(part, mask)
        assert torch.equal(counts.table, before), "asking counts nothing"
        expected = by_counter(part, mask, seen)
        assert torch.equal(found[mask], expected[mask])
        counts.observe(part, mask)
        t += length
    assert counts.table.sum() == valid.sum()
    assert {i: n for i, n in enumerate(counts.table.tolist()) if n} == dict(seen)


def test_negative_hashes_have_a_place_and_what_collides_shares_it():
    counts = Counts(4)
    keys = torch.tensor([[-1, 15], [31, -16]])
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert counts(keys, everything).tolist() == [[1, 2], [3, 1]]
    counts.observe(keys, everything)
    assert counts.table.tolist() == [1] + [0] * 14 + [3]


def test_counts_of_an_episode_are_those_of_a_loop_with_resets():
    first = rollout(spec(vector=1), 2 * T, B, 3, 0.15).first
    keys = torch.randint(5, (2 * T + 1, B), generator=torch.Generator().manual_seed(2))
    expected, seen = torch.zeros_like(keys), [Counter() for _ in range(B)]
    for t in range(2 * T + 1):
        for b in range(B):
            if first[t, b]:
                seen[b].clear()
            seen[b][int(keys[t, b])] += 1
            expected[t, b] = seen[b][int(keys[t, b])]
    memory = empty(B, 31, keys)
    for part in (slice(0, T + 1), slice(T, 2 * T + 1)):
        found = episodic_counts(keys[part], recall(memory, keys[part], first[part]))
        assert torch.equal(found, expected[part])
        memory = remember(memory, keys[part], first[part])
