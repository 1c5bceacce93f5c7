"""Counts over life and in an episode, against counters in a loop; what noise does to them."""

from collections import Counter

import pytest
import torch

from morello.auxiliaries.intrinsic.count import Count, CountConfig, EpisodicCount, LifelongConfig
from morello.backbones import Sizes

from ...support.rewards import part, permuted, score, unseen
from ...support.rollouts import rollout, spec

T, B, CELLS = 23, 7, 11
WORLD = spec(image=(7, 5, 3))
KINDS = {"count": (Count, LifelongConfig), "episodic_count": (EpisodicCount, CountConfig)}


def built(name, world=WORLD, **settings):
    kind, config = KINDS[name]
    return kind(config(**settings), world, Sizes(None, 17, 13))


def walk(seed, ends=0.15, world=WORLD, cells=CELLS):
    """Environments walk about between so many places, which look and are different."""
    seen = rollout(world, T, B, seed, ends)
    g = torch.Generator().manual_seed(seed + 1)
    cell = torch.randint(cells, (T + 1, B), generator=g)
    looks = torch.randint(11, (cells, *world.observation["image"][0]), generator=torch.Generator().manual_seed(5))
    return seen._replace(observation={"image": looks.to(torch.uint8)[cell]}, info={"cell": cell})


def by_loop(seen, life):
    """1 / sqrt(N) of the place arrived at."""
    cell, expected = seen.info["cell"], torch.zeros(T, B)
    ever, episodes = Counter(), [Counter() for _ in range(B)]
    for b in range(B):
        episodes[b][int(cell[0, b])] += 1
    for t in range(T):
        for b in range(B):
            place = int(cell[t + 1, b])
            if seen.first[t + 1, b]:
                episodes[b].clear()
            episodes[b][place] += 1
            ever[place] += bool(seen.valid[t, b])
            expected[t, b] = (ever if life else episodes[b])[place] ** -0.5 if seen.valid[t, b] else 0.0
    return expected


@pytest.mark.parametrize("key", ["view", "cell"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("split", [(23,), (11, 12), (1, 2, 3, 5, 12), (1,) * 23], ids=len)
def test_it_pays_1_over_the_root_of_the_visits_however_the_rollout_is_cut(name, key, split):
    seen, module = walk(3), built(name, key=key)
    assert not seen.valid.all()
    state, t, found = module.initial_state(B), 0, []
    for length in split:
        one = part(seen, t, t + length)
        scored = score(module, one, state)
        module.observe(one, unseen(one), scored)
        found.append(scored.raw)
        state, t = scored.state, t + length
    found = torch.where(seen.valid, torch.cat(found), 0.0)
    torch.testing.assert_close(found, by_loop(seen, life=name == "count"))


@pytest.mark.parametrize("split", [(23,), (11, 12), (1,) * 23], ids=len)
def test_once_pays_for_first_visits_in_the_episode_only(split):
    seen, module = walk(3), built("episodic_count", once=True)
    state, t, found = module.initial_state(B), 0, []
    for length in split:
        scored = score(module, part(seen, t, t + length), state)
        found.append(scored.raw)
        state, t = scored.state, t + length
    paid = torch.cat(found)[seen.valid]
    torch.testing.assert_close(paid, (by_loop(seen, life=False) == 1).float()[seen.valid])
    assert 0 < paid.mean() < 1


@pytest.mark.parametrize("name", KINDS)
def test_the_share_of_first_visits_is_logged(name):
    seen, module = walk(4), built(name)
    found = score(module, seen, module.initial_state(B)).raw[seen.valid]
    assert float(module.metrics["first_visits"]) == pytest.approx(float((found == 1).float().mean()))


def test_other_episodes_are_not_read():
    seen, module = walk(5, ends=0.3), built("episodic_count")
    one = int(seen.first[1:, 0].nonzero()[0]) + 1
    other = torch.zeros(T + 1, B, dtype=torch.bool)
    other[one:, 0] = True
    images = seen.observation["image"]
    poisoned = torch.where(other[..., None, None, None], images[0, 0], images)
    a = score(module, seen, module.initial_state(B))
    b = score(module, seen._replace(observation={"image": poisoned}), module.initial_state(B))
    assert torch.equal(a.raw[: one - 1], b.raw[: one - 1])
    assert torch.equal(a.raw[:, 1:], b.raw[:, 1:])
    assert not torch.equal(a.raw[:, 0], b.raw[:, 0])


def test_tasks_have_cells_of_their_own():
    seen = walk(6, ends=0.0)
    cell = torch.zeros_like(seen.info["cell"])
    task = (torch.arange(B) % 2).expand(T + 1, -1)
    module = built("count", key="cell")
    found = score(module, seen._replace(info={"cell": cell}, task=task)).raw
    assert (found == 1).sum() == 2
    assert found.min() == pytest.approx((T * 4) ** -0.5)


@pytest.mark.parametrize("name", KINDS)
def test_an_environment_that_tells_no_cells_is_refused_with_the_way_out(name):
    module = built(name, key="cell")
    with pytest.raises(ValueError, match="does not tell which cell"):
        score(module, walk(7)._replace(info={}), module.initial_state(B))


@pytest.mark.parametrize("name", KINDS)
def test_who_stays_is_paid_less_and_less_and_noise_for_ever(name):
    """The known trap: a view that never comes again is always new."""
    seen, module = walk(8, ends=0.0), built(name)
    still = seen._replace(observation={"image": seen.observation["image"][:1, :1].expand(T + 1, B, -1, -1, -1)})
    noisy = seen._replace(observation={"image": torch.randint(256, (T + 1, B, 7, 5, 3), dtype=torch.uint8)})
    for one, bound in ((still, 0.5), (noisy, 0.99)):
        found = score(module, one, module.initial_state(B)).raw
        assert (found.mean() > bound) == (one is noisy)
    assert torch.equal(score(module, still, module.initial_state(B)).raw.argmin(0), torch.full((B,), T - 1))


@pytest.mark.parametrize("name", KINDS)
def test_small_noise_in_large_images_is_not_seen(name):
    world = spec(image=(84, 84, 3))
    seen, module = rollout(world, T, B, 9, 0.0), built(name, world)
    image = torch.full((T + 1, B, 84, 84, 3), 104) + torch.randint(-10, 11, (T + 1, B, 84, 84, 3))
    found = score(module, seen._replace(observation={"image": image.to(torch.uint8)}), module.initial_state(B)).raw
    assert (found == 1).sum() == (1 if name == "count" else 0)


def test_neighbours_do_not_matter_to_an_episode():
    seen, module, order = walk(10), built("episodic_count"), torch.tensor([3, 6, 0, 5, 1, 4, 2])
    a, b = (score(module, x, module.initial_state(B)) for x in (seen, permuted(seen, order)))
    assert torch.equal(b.raw, a.raw[:, order])
    assert torch.equal(b.state.entries, a.state.entries[order])


def test_all_environments_share_what_was_counted_in_life():
    module, seen = built("count", key="cell"), walk(11, ends=0.0)
    cell = torch.arange(T + 1).unsqueeze(-1).expand(-1, B)
    found = score(module, seen._replace(info={"cell": cell})).raw
    torch.testing.assert_close(found, torch.arange(1.0, B + 1).rsqrt().expand(T, -1))


def test_episodes_are_remembered_as_long_as_they_can_be():
    assert built("episodic_count", WORLD._replace(max_steps=31)).initial_state(B).entries.shape == (B, 32)
