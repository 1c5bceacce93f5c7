"""Exploration against a per-environment walk in plain Python, on random flags, cells and tasks."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch

from morello.envs.exploration import Exploration, first_occurrences

from ..support.experience import B, K, T, experience, rollout

CELLS = 5
REWARDS = ("near", "far")


def played(seed):
    """Flags, tasks and cells [T + 1, B], and the rewards [T, B] by stream, NaN where no transition is."""
    data = experience(seed)
    rng = torch.Generator().manual_seed(seed)
    paid = {name: torch.randn(T, B, generator=rng).masked_fill(data[1][:-1], torch.nan) for name in REWARDS}
    return data, torch.randint(CELLS, (T + 1, B), generator=rng), paid


def feed(exploration, data, cell, paid, cuts=(), rows=(0, T)):
    """Add the experience in rollouts that end at ``cuts``."""
    bounds = [rows[0], *(c for c in cuts if rows[0] < c < rows[1]), rows[1]]
    for n, (a, b) in enumerate(pairwise(bounds), int(exploration.state_dict()["next"])):
        part = rollout(*data, rows=slice(a, b))._replace(info={"cell": cell[a : b + 1]}, sequence=n)
        exploration.update(part, {name: x[a:b] for name, x in paid.items()})
    return exploration


def made():
    return Exploration(B, K, CELLS, rewards=REWARDS)


def walk(data, cell, paid):
    """One environment and row after the other: distinct cells of each ended episode, visits, and rewards by cell."""
    first, last, task = data[:3]
    ended, visits, arrivals = [], Counter(), {name: {} for name in paid}
    for b in range(B):
        seen = set()
        for t in range(T + 1):
            seen = set() if first[t, b] else seen
            place = int(task[t, b]), int(cell[t, b])
            seen.add(place)
            visits[place] += 1
            if t and not last[t - 1, b]:
                ended += [len(seen)] if last[t, b] else []
                for name, x in paid.items():
                    arrivals[name].setdefault(place, []).append(float(x[t - 1, b]))
    return ended, visits, arrivals


@pytest.mark.parametrize("cuts", [(), (17,), (1, 2, 3, 30), range(1, T)])
def test_agrees_with_a_walk_wherever_rollouts_are_cut(cuts):
    of = played(seed=1)
    ended, visits, arrivals = walk(*of)
    assert len(ended) > 3 * B
    assert len(set(ended)) > 3
    assert len({k for k, _ in visits}) == K
    found = feed(made(), *of, cuts=cuts)
    shares = [n / sum(visits.values()) for n in visits.values()]
    assert found.report() == pytest.approx(
        {
            "cells_per_episode": sum(ended) / len(ended),
            "cells": len(visits),
            "visit_entropy": -sum(p * math.log(p) for p in shares),
        }
    )
    heat = found.drain_heat()
    for k in range(K):
        for c in range(CELLS):
            assert int(heat.visits[k, c]) == visits[k, c]
            for name in REWARDS:
                there = arrivals[name].get((k, c), [])
                mean = sum(there) / len(there) if there else math.nan
                assert float(heat.reward[name][k, c]) == pytest.approx(mean, nan_ok=True)


def test_cells_that_nobody_visits_and_episodes_that_do_not_end_are_not_counted():
    data, cell, paid = played(seed=2)
    exploration = made()
    assert exploration.report() == {"cells": 0, "visit_entropy": 0}
    feed(exploration, data, cell.clamp(max=2), paid)
    assert exploration.report()["cells"] == K * 3
    assert exploration.report().keys() == {"cells", "visit_entropy"}  # none ended since
    assert exploration.drain_heat().reward["near"][:, 3:].isnan().all()


def test_means_of_rewards_begin_anew_and_visits_go_on():
    of = played(seed=3)
    exploration = feed(made(), *of, rows=(0, 20))
    exploration.drain_heat()
    feed(exploration, *of, rows=(20, T))
    data, cell, paid = of
    heat = exploration.drain_heat()
    assert int(heat.visits.sum()) == (T + 1) * B
    here = (data[2] * CELLS + cell)[21:] == 0
    valid = ~data[1][20:T]
    assert float(heat.reward["far"][0, 0]) == pytest.approx(float(paid["far"][20:][here & valid].mean()), rel=1e-5)


def test_without_rewards_only_visits_are_counted():
    data, cell, _ = played(seed=4)
    exploration = made()
    exploration.update(rollout(*data)._replace(info={"cell": cell}), {})  # they warm up
    heat = exploration.drain_heat()
    assert int(heat.visits.sum()) == (T + 1) * B
    assert heat.reward["near"].isnan().all()


def test_a_reward_that_warms_up_leaves_the_others_maps_alone():
    data, cell, paid = played(seed=4)
    whole, some = made(), made()
    feed(whole, data, cell, paid)
    near = {"near": paid["near"]}
    feed(some, data, cell, near, rows=(0, 20))
    feed(some, data, cell, paid, rows=(20, T))
    expected, heat = whole.drain_heat().reward, some.drain_heat().reward
    torch.testing.assert_close(heat["near"], expected["near"], equal_nan=True)
    late = made()
    feed(late, data, cell, paid, rows=(0, 20))
    late.drain_heat()
    feed(late, data, cell, paid, rows=(20, T))
    torch.testing.assert_close(heat["far"], late.drain_heat().reward["far"], equal_nan=True)


def test_arrivals_of_earlier_versions_are_those_of_every_reward():
    found, other = feed(made(), *played(seed=4)), made()
    state = found.state_dict()
    other.load_state_dict(state | {"arrivals": state["arrivals"][0]})
    expected, heat = found.drain_heat().reward, other.drain_heat().reward
    for name in REWARDS:
        torch.testing.assert_close(heat[name], expected[name], equal_nan=True)


def test_lost_environments_begin_anew():
    """Their unfinished episodes are dropped; the rows they begin with are visits."""
    data, cell, paid = played(seed=5)
    exploration = feed(made(), data, cell, paid, rows=(0, 3))
    exploration.report()
    anew = rollout(*data)._replace(info={"cell": cell}, sequence=7)
    exploration.update(anew, paid)
    ended, visits, _ = walk(data, cell, paid)
    assert exploration.report()["cells_per_episode"] == pytest.approx(sum(ended) / len(ended))
    assert int(exploration.drain_heat().visits.sum()) == sum(visits.values()) + 4 * B


def test_resumes_to_the_bit():
    of = played(seed=6)
    exploration = feed(made(), *of, rows=(0, 23))
    resumed = made()
    resumed.load_state_dict(exploration.state_dict())
    found = [feed(one, *of, rows=(23, T)) for one in (exploration, resumed)]
    one, two = (x.state_dict() for x in found)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert found[0].report() == found[1].report()


def test_nothing_is_read_by_the_host():
    data, cell, paid = played(seed=7)
    exploration = Exploration(B, K, CELLS, "meta", rewards=REWARDS)
    away = [x.to("meta") for x in data]
    for n in range(2):
        part = rollout(*away)._replace(info={"cell": cell.to("meta")}, sequence=n)
        exploration.update(part, {name: x.to("meta") for name, x in paid.items()})
    assert exploration.drain_heat().visits.shape == (K, CELLS)


def test_first_occurrences():
    key = torch.tensor([[3, 3], [3, 1], [5, 3], [3, 1], [4, 0]])
    assert first_occurrences(key).tolist() == [[1, 1], [0, 1], [1, 0], [0, 0], [1, 1]]


def test_an_episode_of_no_steps_is_none():
    first, last = torch.tensor([[1], [0], [1], [1]]).bool(), torch.tensor([[0], [1], [1], [0]]).bool()
    data = first, last, torch.zeros(4, 1).long(), torch.zeros(3, 1), torch.ones(3, 1)
    exploration = Exploration(1, 1, CELLS)
    exploration.update(rollout(*data)._replace(info={"cell": torch.tensor([[3], [1], [2], [0]])}))
    assert exploration.report() == pytest.approx({"cells_per_episode": 2, "cells": 4, "visit_entropy": math.log(4)})
