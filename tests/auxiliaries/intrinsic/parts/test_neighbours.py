"""Distances to what precedes in the episode, and the nearest of them, against loops."""

import pytest
import torch

from morello.auxiliaries.intrinsic.parts.episodes import empty, recall, remember
from morello.auxiliaries.intrinsic.parts.neighbours import nearest, squared_distances

from ....support.rollouts import rollout, spec

T, B, D, M = 13, 5, 7, 19


def experience(seed, D=D, ends=0.2):
    rows = torch.randn(T + 1, B, D, generator=torch.Generator().manual_seed(seed))
    return rows, rollout(spec(vector=1), T, B, seed, ends).first


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_a_loop_and_infinite_elsewhere(seed):
    before, first_before = experience(seed)
    after, first = experience(seed + 50)
    rows = torch.cat([before, after[1:]])
    begins = torch.cat([first_before, first[1:]])
    memory = remember(empty(B, 2 * M, rows, (D,)), before, first_before)
    distance = squared_distances(rows[T:], recall(memory, rows[T:], begins[T:]))
    assert distance.shape == (B, T + 1, 2 * M + T + 1)
    for b in range(B):
        for t in range(T, 2 * T + 1):
            start = max((i for i in range(t + 1) if begins[i, b]), default=0)
            expected = sorted(float(((rows[t, b] - rows[i, b]) ** 2).sum()) for i in range(start, t))
            row = distance[b, t - T]
            found = sorted(row[row.isfinite()].tolist())
            assert found == pytest.approx(expected, rel=1e-5)


def test_equal_rows_are_at_distance_0_exactly():
    """Not a rounding error of |x|^2 - 2 x y + |y|^2, whose root would not be small."""
    rows = (1000 * torch.randn(1, 1, D)).expand(T + 1, B, D)
    first = torch.zeros(T + 1, B, dtype=torch.bool)
    distance = squared_distances(rows, recall(empty(B, M, rows, (D,)), rows, first))
    assert (distance[distance.isfinite()] == 0).all()
    assert distance.isfinite().sum() == B * T * (T + 1) / 2


@pytest.mark.parametrize("k", [1, 3, 7, 11])
def test_the_nearest_are_the_smallest_in_ascending_order(k):
    distance = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(k))
    distance[0, 0, 2:] = torch.inf
    found = nearest(distance, k)
    assert found.shape == (3, 5, k)
    for i in range(3):
        for j in range(5):
            expected = (sorted(distance[i, j].tolist()) + [torch.inf] * k)[:k]
            assert found[i, j].tolist() == expected


def test_what_another_episode_held_is_not_near():
    rows, _ = experience(5)
    first = torch.zeros(T + 1, B, dtype=torch.bool)
    first[6] = True
    poisoned = torch.where(torch.arange(T + 1).view(-1, 1, 1) < 6, 1e6 * rows, rows)
    clean, other = (squared_distances(x, recall(empty(B, M, x, (D,)), x, first))[:, 6:] for x in (rows, poisoned))
    assert torch.equal(nearest(clean, 3), nearest(other, 3))
