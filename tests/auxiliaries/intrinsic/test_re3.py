"""RE3: distances to what was seen lately, in random features, and their logarithm."""

import copy
import math

import pytest
import torch

from morello.auxiliaries.intrinsic import re3
from morello.auxiliaries.intrinsic.re3 import RE3, RE3Config, bonus_of, mean_nearest
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rewards import NOTHING
from ...support.rollouts import rollout, spec

T, B, V = 13, 5, 3
SPEC, SIZES = spec(vector=V), Sizes(None, 7, 11)


def build(**options):
    return RE3(RE3Config(**options), SPEC, SIZES)


def brute(earlier, rows, size, k):
    """Row by row, from lists: what was seen before it and beside it, the newest ``size`` of it, without itself."""
    seen, found = list(earlier), torch.zeros(rows.shape[:2])
    for t, row in enumerate(rows):
        number = len(seen)
        seen += list(row)
        for b, x in enumerate(row):
            others = [y for i, y in enumerate(seen) if i >= len(seen) - size and i != number + b]
            near = sorted(math.dist(x.tolist(), y.tolist()) for y in others)[:k]
            found[t, b] = sum(near) / len(near) if near else 0.0
    return found


def piece(played, begin, end):
    """Steps ``begin`` to ``end`` of a rollout."""
    rows, steps = slice(begin, end + 1), slice(begin, end)
    return played._replace(
        observation={k: x[rows] for k, x in played.observation.items()},
        **{k: getattr(played, k)[rows] for k in ("first", "last", "task", "skill")},
        **{k: getattr(played, k)[steps] for k in ("action", "logits", "reward", "discount")},
    )


def showing(x):
    """A rollout without resets that shows ``x`` [T + 1, B, V]."""
    played = rollout(SPEC, len(x) - 1, x.shape[1], ends=0)
    return played._replace(observation={"vector": x})


def taken_in(module, played):
    """Score and observe."""
    scored = module.score(played, NOTHING, ())
    module.observe(played, NOTHING, scored)
    return scored.raw


def test_points_without_themselves_and_with():
    points, nothing = torch.tensor([[[0.0], [1.0], [3.0]]]), torch.zeros(6, 1)
    expected = torch.tensor([[2.0, 2.0, 3.0]]).log()
    torch.testing.assert_close(bonus_of(mean_nearest(nothing, torch.tensor(0), points, 1)), expected)
    known = torch.cat([nothing[:3], points[0]])
    assert not bonus_of(mean_nearest(known, torch.tensor(3), points, 1)).any()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_log_distances_fall_as_those_of_uniform_points(d):
    few, many = (torch.rand(1, n, d) for n in (250, 2000))
    of = [mean_nearest(torch.zeros(3000, d), torch.tensor(0), x, 1).log().mean() for x in (few, many)]
    assert (of[0] - of[1]).item() == pytest.approx(math.log(8) / d, rel=0.15)


@pytest.mark.parametrize("chunk", [1, 300, 10**6])
@pytest.mark.parametrize(("size", "filled"), [(17, 0), (17, 4), (17, 17), (101, 101), (101, 2), (2, 1), (3, 3)])
def test_distances_are_those_counted_one_by_one(monkeypatch, size, filled, chunk):
    monkeypatch.setattr(re3, "CPU_CHUNK", chunk)
    ring, rows = torch.randn(size, V), torch.randn(T, B, V)
    ring[: size - filled] = 0.1  # not seen, though it is near
    for k in (1, 2, 7):
        found = mean_nearest(ring, torch.tensor(filled), rows, k)
        torch.testing.assert_close(found, brute(ring[size - filled :], rows, size, k), atol=1e-5, rtol=1e-5)


def test_the_same_observation_is_at_no_distance_though_it_is_large():
    rows = (1e3 + torch.randn(1, 1, 64)).expand(5, 3, -1)
    assert (mean_nearest(torch.zeros(7, 64), torch.tensor(0), rows, 2) == 0).all()


@pytest.mark.parametrize("buffer", [7, 50, 1000])
def test_a_rollout_cut_in_two_is_scored_the_same(buffer):
    one, two = (build(buffer=buffer, scaled=False) for _ in range(2))
    two.load_state_dict(one.state_dict())
    before, played = rollout(SPEC, T, B, seed=1), rollout(SPEC, T, B, seed=2)
    for module in (one, two):
        taken_in(module, before)
    whole = taken_in(one, played)
    parts = torch.cat([taken_in(two, piece(played, 0, 4)), taken_in(two, piece(played, 4, T))])
    torch.testing.assert_close(whole, parts)
    for mine, its in zip((one.ring, one.filled), (two.ring, two.filled), strict=True):
        torch.testing.assert_close(mine, its)


def test_it_is_the_formula_of_the_features_of_the_state_acted_from():
    module = build(neighbours=3, buffer=23)
    seen, past = [], []
    for i in range(4):
        played = rollout(SPEC, T, B, seed=i)
        y = module.embedding({"vector": played.observation["vector"].flatten(0, 1)}).view(T + 1, B, -1)[:-1]
        distance = brute(seen, y, 23, 3)
        scale = torch.cat([x.flatten() for x in past or [distance]]).std(correction=0)
        raw = taken_in(module, played)
        torch.testing.assert_close(raw, torch.log1p(distance / scale), atol=1e-4, rtol=1e-4)
        assert figures(module)["distance"].item() == pytest.approx(distance[played.valid].mean().item(), rel=1e-4)
        assert figures(module)["filled"].item() == pytest.approx(min(len(seen), 23) / 23)
        past.append(distance)
        seen += list(y.flatten(0, 1))


def test_scoring_changes_nothing_and_reads_observations_only():
    module, played = build(), rollout(SPEC, T, B, ends=0.3)
    taken_in(module, rollout(SPEC, T, B, seed=5))
    before = copy.deepcopy(module.state_dict())
    raw = module.score(played, NOTHING, ()).raw
    assert all(torch.equal(x, before[k]) for k, x in module.state_dict().items())
    broken = played._replace(
        action=played.action - 99, reward=played.reward * torch.nan, discount=played.discount * torch.nan, task=None
    )
    assert torch.equal(module.score(broken, NOTHING, ()).raw, raw)
    assert raw.isfinite().all()


def test_it_has_nothing_to_train():
    module, played = build(), rollout(SPEC, T, B)
    assert not any(p.requires_grad for p in module.parameters())
    value, mask = module(played, NOTHING, module.score(played, NOTHING, ()))
    assert not value.any()
    assert torch.equal(mask, played.valid)


def test_it_goes_on_from_its_state():
    one, two = build(buffer=29), build(buffer=29)
    for i in range(2):
        taken_in(one, rollout(SPEC, T, B, seed=i))
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    following = rollout(SPEC, T, B, seed=7)
    assert torch.equal(taken_in(one, following), taken_in(two, following))


def test_a_rare_place_pays_more_than_a_common_one():
    """Nine of ten observations are of one place, and the rest of places of their own."""
    module, far = build(neighbours=3), torch.randn(4, V) * 3
    for _ in range(8):
        rare = torch.rand(T + 1, B) < 0.1
        x = torch.where(rare.unsqueeze(-1), far[torch.randint(4, (T + 1, B))], 0.0)
        raw = taken_in(module, showing(x + 0.1 * torch.randn_like(x)))
    assert raw[rare[:-1]].mean() > 1.5 * raw[~rare[:-1]].mean()


def test_where_nothing_is_new_it_pays_nothing_and_noise_always_pays():
    still, noisy = build(neighbours=3), build(neighbours=3)
    for _ in range(30):
        same = taken_in(still, showing(torch.ones(T + 1, B, V)))
        noise = taken_in(noisy, showing(torch.randn(T + 1, B, V)))
    assert not same.any()
    assert noise.mean() > 0.3


def test_images_of_both_kinds():
    for image in ((7, 7, 3), (45, 47, 3)):
        shown = spec(image=image)
        module = RE3(RE3Config(), shown, SIZES)
        raw = taken_in(module, rollout(shown, 5, 3))
        assert (raw > 0).all()
