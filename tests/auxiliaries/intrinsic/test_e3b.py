"""E3B: numbers by hand, rank-1 updates and direct solves in a loop, and where episodes begin."""

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.e3b import E3B, E3BConfig, elliptical
from morello.auxiliaries.intrinsic.parts.episodes import episode_of
from morello.backbones import Sizes

from ...support.rewards import learn, part, permuted, score, unseen
from ...support.rollouts import rollout, spec
from ...support.screens import WORLD as BESIDE
from ...support.screens import pulls

T, B, D, A = 17, 5, 7, 5
WORLDS = {
    "grid": spec(image=(7, 7, 3), actions=A),
    "image": spec(image=(36, 44, 3), actions=A),
    "vector": spec(vector=11, actions=A),
}


def built(kind, seed=0, **settings):
    torch.manual_seed(seed)
    return E3B(E3BConfig(**{"size": D, "hidden": 31, **settings}), WORLDS[kind], Sizes(None, 17, 13))


def fresh(ridge, size=D, batch=B):
    return (torch.eye(size) / ridge).expand(batch, -1, -1)


def features(seed, rows=T, batch=B, size=D):
    return torch.randn(rows, batch, size, generator=torch.Generator().manual_seed(seed))


def begins(seed, ends=0.2, rows=T):
    return rollout(spec(vector=1), rows, B, seed, ends).first[:-1]


def test_a_feature_seen_n_times_before_is_worth_1_over_ridge_plus_n():
    phi = F.one_hot(torch.tensor([2, 2, 5, 2, 5]), D).float().unsqueeze(1)
    bonus, after = elliptical(fresh(0.1, batch=1), phi, torch.zeros(5, 1, dtype=torch.int64), 0.1)
    torch.testing.assert_close(bonus[:, 0], torch.tensor([10.0, 1 / 1.1, 10.0, 1 / 2.1, 1 / 1.1]), check_dtype=False)
    assert [round(float(x), 4) for x in bonus[:, 0]] == [10.0, 0.9091, 10.0, 0.4762, 0.9091]
    expected = torch.full((D,), 10.0)
    expected[2], expected[5] = 1 / 3.1, 1 / 2.1
    torch.testing.assert_close(after[0], expected.diag(), atol=1e-6, rtol=1e-6, check_dtype=False)


def by_loop(phi, first, ridge):
    """Sherman and Morrison's rank-1 updates, and a direct solve, one environment and row at a time, in float64."""
    phi = phi.double()
    bonus, inverses = torch.zeros(phi.shape[:2], dtype=torch.float64), []
    for b in range(phi.shape[1]):
        inverse = torch.eye(phi.shape[2], dtype=torch.float64) / ridge
        moments = ridge * torch.eye(phi.shape[2], dtype=torch.float64)
        for t in range(len(phi)):
            if first[t, b]:
                inverse = torch.eye(phi.shape[2], dtype=torch.float64) / ridge
                moments = ridge * torch.eye(phi.shape[2], dtype=torch.float64)
            x = phi[t, b]
            u = inverse @ x
            bonus[t, b] = x @ u
            torch.testing.assert_close(
                bonus[t, b], x @ torch.linalg.solve(moments, x), rtol=1e-10, atol=0, check_dtype=False
            )
            inverse = inverse - torch.outer(u, u) / (1 + bonus[t, b])
            moments = moments + torch.outer(x, x)
        inverses.append(inverse)
    return bonus.float(), torch.stack(inverses).float()


@pytest.mark.parametrize("ridge", [0.1, 2.0])
@pytest.mark.parametrize("ends", [0.0, 0.2])
@pytest.mark.parametrize("split", [(17,), (6, 11), (1, 2, 3, 11), (1,) * 17], ids=len)
def test_all_rows_at_once_are_a_loop_of_rank_1_updates_however_they_are_cut(split, ends, ridge):
    phi, first = features(3), begins(4, ends)
    inverse, t, found = fresh(ridge), 0, []
    for length in split:
        bonus, inverse = elliptical(inverse, phi[t : t + length], episode_of(first[t : t + length]), ridge)
        found.append(bonus)
        t += length
    expected, after = by_loop(phi, first, ridge)
    torch.testing.assert_close(torch.cat(found), expected, rtol=1e-4, atol=1e-5, check_dtype=False)
    torch.testing.assert_close(inverse, after, rtol=1e-3, atol=1e-5, check_dtype=False)


def test_a_thousand_steps_leave_it_exact_and_symmetric():
    phi, first = features(5, 1000), torch.zeros(1000, B, dtype=torch.bool)
    inverse, found = fresh(0.1), []
    for some in phi.split(20):
        bonus, inverse = elliptical(inverse, some, episode_of(first[:20]), 0.1)
        found.append(bonus)
    seen = phi[:-1].double().transpose(0, 1)
    moments = 0.1 * torch.eye(D, dtype=torch.float64) + seen.mT @ seen
    x = phi[-1].double()
    direct = (x * torch.linalg.solve(moments, x)).sum(-1).float()
    torch.testing.assert_close(torch.cat(found)[-1], direct, rtol=1e-3, atol=0, check_dtype=False)
    torch.testing.assert_close(inverse, inverse.mT, rtol=1e-4, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("kind", WORLDS)
def test_the_state_acted_from_is_scored_and_the_first_of_an_episode_gets_0(kind, unit):
    e3b, seen = built(kind, unit=unit), rollout(WORLDS[kind], T, B, 6, 0.15)
    found = score(e3b, seen, e3b.initial_state(B))
    phi = e3b.embed(seen).detach()[:-1]
    if unit:
        phi = phi / phi.square().sum(-1, keepdim=True).sqrt()
    expected, after = by_loop(phi, seen.first[:-1], 0.1)
    assert (found.raw[seen.first[:-1]] == 0).all()
    assert seen.first[1:-1].any()
    assert (found.raw[0] == 0).all(), "nothing is remembered of the episode that goes on"
    counted = ~seen.first[:-1]
    counted[0] = False
    torch.testing.assert_close(found.raw[counted], expected[counted], rtol=1e-3, atol=1e-4, check_dtype=False)
    torch.testing.assert_close(found.state, after, rtol=1e-3, atol=1e-4, check_dtype=False)


def test_features_that_grow_and_move_look_new_unless_they_have_length_1():
    """The same view throughout, in features a hundred times as large that an update has moved by a hundredth."""
    paid = {}
    for unit in (True, False):
        e3b, seen = built("vector", unit=unit), rollout(WORLDS["vector"], T, B, 9, 0.0)
        seen.observation["vector"][:] = 1.0
        seen.first[:] = False
        linear = e3b.embedding.layers[0]
        with torch.no_grad():
            linear.weight.mul_(100), linear.bias.mul_(100)
        state = score(e3b, seen, e3b.initial_state(B)).state
        with torch.no_grad():
            linear.weight.mul_(1 + 0.01 * torch.randn(linear.weight.shape))
        paid[unit] = float(score(e3b, seen, state).raw[0].mean())
    assert paid[True] < 0.1
    assert paid[False] > 1


@pytest.mark.parametrize("split", [(8, 9), (1, 2, 3, 11)], ids=len)
def test_splitting_a_rollout_changes_no_bonus(split):
    e3b, seen = built("grid"), rollout(WORLDS["grid"], T, B, 7, 0.15)
    whole, state, t, found = score(e3b, seen, e3b.initial_state(B)), e3b.initial_state(B), 0, []
    for length in split:
        scored = score(e3b, part(seen, t, t + length), state)
        found.append(scored.raw)
        state, t = scored.state, t + length
    torch.testing.assert_close(torch.cat(found), whole.raw, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_other_episodes_and_environments_are_not_read():
    e3b, seen = built("vector"), rollout(WORLDS["vector"], T, B, 8, 0.15)
    start = seen.first[:, 0].nonzero()
    one = int(start[-1])
    assert 0 < one < T
    other = torch.zeros(T + 1, B, 1, dtype=torch.bool)
    other[:one, 0] = True
    other[:, 3] = True
    poisoned = torch.where(other, 1e4, seen.observation["vector"])
    a = score(e3b, seen, e3b.initial_state(B))
    b = score(e3b, seen._replace(observation={"vector": poisoned}), e3b.initial_state(B))
    torch.testing.assert_close(a.raw[one:, 0], b.raw[one:, 0], check_dtype=False)
    torch.testing.assert_close(a.state[0], b.state[0], check_dtype=False)
    mine = [1, 2, 4]
    torch.testing.assert_close(a.raw[:, mine], b.raw[:, mine], check_dtype=False)
    torch.testing.assert_close(a.state[mine], b.state[mine], check_dtype=False)


def test_who_goes_round_in_circles_is_paid_less_and_who_sees_new_things_is_not():
    e3b, still = built("vector", size=11), rollout(WORLDS["vector"], 10, B, 9, 0.0)
    still.first.zero_()
    places = torch.eye(11)
    e3b.embedding.layers = torch.nn.Identity()
    circle = still._replace(observation={"vector": places[torch.arange(11) % 2].unsqueeze(1).expand(-1, B, -1)})
    path = still._replace(observation={"vector": places.unsqueeze(1).expand(-1, B, -1)})
    found = [score(e3b, x, e3b.initial_state(B)).raw[:, 0] for x in (circle, path)]
    torch.testing.assert_close(found[0][1:], (1 / (0.1 + torch.arange(10) // 2))[1:], check_dtype=False)
    torch.testing.assert_close(found[1][1:], torch.full((9,), 10.0), check_dtype=False)


def test_an_inverse_model_trains_the_features_and_leaves_out_resets():
    e3b, seen = built("grid"), rollout(WORLDS["grid"], T, B, 10, 0.2)
    found = []
    for action in (seen.action, torch.where(seen.valid, seen.action, 99)):
        e3b.zero_grad()
        value, mask = e3b(seen._replace(action=action), unseen(seen), score(e3b, seen, e3b.initial_state(B)))
        assert torch.equal(mask, seen.valid)
        value[mask].sum().backward()
        found.append([value[mask], *(p.grad for p in e3b.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert all(g.any() for g in found[0][1:])
    phi = e3b.embed(seen)
    for t, b in [(0, 0), (3, 4), (16, 2)]:
        if seen.valid[t, b]:
            expected = F.cross_entropy(e3b.inverse(phi[t, b], phi[t + 1, b]), seen.action[t, b])
            torch.testing.assert_close(value[t, b], expected, rtol=1e-3, atol=1e-5, check_dtype=False)


def test_it_learns_what_actions_do():
    """Vectors whose first number is what the last action was."""
    e3b = built("vector", hidden=31)
    optimizer = torch.optim.Adam(e3b.parameters(), 1e-2)
    for i in range(60):
        seen = rollout(WORLDS["vector"], T, B, i, 0.1)
        seen.observation["vector"][1:, :, 0] = 2.0 * seen.action - 4
        learn(e3b, seen, optimizer, e3b.initial_state(B))
    assert float(e3b.metrics["accuracy"]) > 0.8
    assert float(e3b.metrics["chance"]) < 0.4


def test_neighbours_may_change_places():
    e3b, seen, order = built("grid"), rollout(WORLDS["grid"], T, B, 11), torch.tensor([3, 0, 4, 1, 2])
    a, b = score(e3b, seen, e3b.initial_state(B)), score(e3b, permuted(seen, order), e3b.initial_state(B))
    torch.testing.assert_close(b.raw, a.raw[:, order], check_dtype=False)
    torch.testing.assert_close(b.state, a.state[order], check_dtype=False)


@pytest.mark.parametrize("moves", [True, False])
def test_noise_that_actions_do_not_cause_is_ignored_once_features_tell_them(moves):
    """The control: where actions cause nothing, places are not told from noise either."""
    torch.manual_seed(0)
    before, after = pulls(E3B(E3BConfig(size=16, hidden=32), BESIDE, Sizes(None, 17, 13)), moves, steps=100)
    assert before > 1
    assert after < 0.3 if moves else after > 0.8
