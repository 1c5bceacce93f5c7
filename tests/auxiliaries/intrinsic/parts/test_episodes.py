"""Memories of episodes, against a list for each environment that is cleared where an episode begins."""

import pytest
import torch

from morello.auxiliaries.intrinsic.parts import episodes
from morello.auxiliaries.intrinsic.parts.episodes import Episode, compared, empty, episode_of, recall, remember

from ....support.rollouts import rollout, spec

B, STEPS = 5, 29
WORLD = spec(vector=1)
SPLITS = [(29,), (11, 18), (1, 2, 3, 5, 7, 11), (1,) * 29]


def experience(seed, ends=0.15):
    """Rows that are all different, and where episodes begin: [STEPS + 1, B, 2] and [STEPS + 1, B]."""
    first = rollout(WORLD, STEPS, B, seed, ends).first
    rows = torch.arange(2 * (STEPS + 1) * B).view(STEPS + 1, B, 2).float()
    return rows, first


def by_lists(rows, first, size):
    """What precedes each row in its episode, the newest ``size - 1`` at most, and what is remembered after it."""
    found, kept = [], []
    lists = [[] for _ in range(B)]
    for t in range(len(rows)):
        for b in range(B):
            if first[t, b]:
                lists[b] = []
        found.append([memory[max(0, len(memory) - size + 1) :] for memory in lists])
        lists = [[*memory, rows[t, b].tolist()][-size:] for b, memory in enumerate(lists)]
        kept.append(list(lists))
    return found, kept


def recalled(memory, rows, first):
    """What each row is compared with, in lists, oldest first."""
    keys, earlier = recall(memory, rows, first)
    assert earlier.shape == (B, len(rows), memory.entries.shape[1] + len(rows))
    return [[keys[b][earlier[b, t]].tolist() for b in range(B)] for t in range(len(rows))]


def listed(memory):
    size = memory.entries.shape[1]
    return [memory.entries[b, size - int(memory.length[b]) :].tolist() for b in range(B)]


@pytest.mark.parametrize("ends", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 13, 31, 64])
@pytest.mark.parametrize("split", SPLITS, ids=len)
def test_each_row_recalls_what_a_list_holds_however_the_rollout_is_cut(split, size, ends):
    """Sizes below 13 are shorter than some episodes, and those of 1 to 3 shorter than most."""
    rows, first = experience(size, ends)
    found, kept = by_lists(rows, first, size)
    memory, t = empty(B, size, rows, (2,)), 0
    for length in split:
        part, begins = rows[t : t + length + 1], first[t : t + length + 1]
        assert recalled(memory, part, begins) == found[t : t + length + 1]
        memory = remember(memory, part, begins)
        t += length
        assert listed(memory) == kept[t]


def test_after_a_gap_an_episode_goes_on_with_an_empty_memory_and_row_0_is_taken_in():
    rows, first = experience(4)
    first = torch.zeros_like(first)
    memory = empty(B, 64, rows, (2,))
    part = rows[13:20]
    assert [len(x) for x in recalled(memory, part, first[13:20])[-1]] == [6] * B
    assert recalled(memory, part, first[13:20])[1] == [[part[0, b].tolist()] for b in range(B)]
    memory = remember(memory, part, first[13:20])
    assert (memory.length == 7).all()
    assert listed(memory) == part.transpose(0, 1).tolist()


def test_nothing_is_recalled_from_another_episode_or_environment():
    rows, first = experience(7, 0.3)
    memory = remember(empty(B, 17, rows, (2,)), rows[:12], first[:12])
    for t, row in enumerate(recalled(memory, rows[11:], first[11:])):
        for b, keys in enumerate(row):
            assert all(key[0] % (2 * B) == 2 * b for key in keys), "it is of this environment"
            begun = int(first[: t + 12, b].nonzero().max()) if first[: t + 12, b].any() else 0
            assert all(key[0] // (2 * B) >= begun for key in keys)


def test_environments_may_change_places():
    rows, first = experience(9)
    order = torch.tensor([3, 0, 4, 1, 2])
    memory = remember(empty(B, 7, rows, (2,)), rows[:12], first[:12])
    moved = Episode(memory.entries[order], memory.length[order])
    one, other = recall(memory, rows[11:], first[11:]), recall(moved, rows[11:, order], first[11:, order])
    assert torch.equal(one.keys[order], other.keys)
    assert torch.equal(one.earlier[order], other.earlier)
    after = remember(moved, rows[11:, order], first[11:, order])
    assert torch.equal(remember(memory, rows[11:], first[11:]).entries[order], after.entries)


def test_neither_call_changes_the_memory_and_scalars_are_remembered_too():
    rows, first = experience(2)
    rows = rows[..., 0].long()
    memory = remember(empty(B, 7, rows), rows[:12], first[:12])
    before = memory.entries.clone(), memory.length.clone()
    recall(memory, rows[11:], first[11:])
    remember(memory, rows[11:], first[11:])
    assert torch.equal(memory.entries, before[0])
    assert torch.equal(memory.length, before[1])
    assert memory.entries.dtype == torch.int64
    assert memory.entries.shape == (B, 7)


def test_episodes_are_numbered_from_the_one_before_row_0():
    first = torch.tensor([[False, True], [False, False], [True, False], [False, True], [True, True]])
    assert episode_of(first).tolist() == [[0, 1], [0, 1], [1, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("limit", [1, 10**3, 10**9])
def test_comparing_some_environments_at_a_time_changes_nothing(monkeypatch, limit):
    """Nor is more recalled at a time than the limit, unless of one environment."""
    rows, first = experience(3)
    memory, sizes = remember(empty(B, 7, rows, (2,)), rows[:12], first[:12]), []

    def number(some, found):
        sizes.append(found.earlier.numel())
        same = (some.transpose(0, 1).unsqueeze(2) == found.keys.unsqueeze(1)).any(-1)
        return torch.stack([found.earlier.sum(-1), (same & found.earlier).sum(-1)], -1).transpose(0, 1)

    whole = number(rows[11:], recall(memory, rows[11:], first[11:]))
    sizes.clear()
    monkeypatch.setattr(episodes, "CPU_PAIRS", limit)
    assert torch.equal(compared(number, memory, rows[11:], first[11:]), whole)
    pairs = len(rows[11:]) * (7 + len(rows[11:]))
    assert sum(sizes) == B * pairs
    assert max(sizes) <= max(limit, pairs)
    assert len(sizes) == {1: 5, 10**3: 3, 10**9: 1}[limit]
