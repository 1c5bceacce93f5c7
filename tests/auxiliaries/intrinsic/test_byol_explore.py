"""BYOL-Explore: the diagonal of its losses, a naive transcription over two rollouts, resets, its scale, and noise."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.byol_explore import (
    FORGET,
    BYOLExplore,
    BYOLExploreConfig,
    about_next,
    squared_error,
)
from morello.auxiliaries.reduction import reduce
from morello.envs.experience import AgentState

from ...support.figures import figures
from ...support.rewards import NOTHING, NOWHERE
from ...support.rollouts import rollout, spec

T, B, A, V, K = 13, 5, 3, 7, 4
VECTOR, IMAGE = spec(vector=V, actions=A), spec(image=(23, 29, 3), actions=A)


def built(world=VECTOR, seed=0, **settings):
    torch.manual_seed(seed)
    reward = BYOLExplore(BYOLExploreConfig(**{"steps": K, "size": 11, "hidden": 17, **settings}), world, NOWHERE)
    with torch.no_grad():
        for p in reward.target.parameters():
            p += 0.1 * torch.randn_like(p)  # a target of its own
    return reward


def score(reward, seen, memory=None):
    with torch.no_grad():
        return reward.score(seen, NOTHING, reward.initial_state(seen.action.shape[1]) if memory is None else memory)


def part(seen, begin, end):
    """Rows ``begin`` to ``end``, as a rollout of its own."""
    if begin:
        state = AgentState((), seen.action[begin - 1], seen.reward[begin - 1])
        seen = seen._replace(state=state)
    rows = {k: getattr(seen, k)[begin : end + 1] for k in ("first", "last")}
    steps = {k: getattr(seen, k)[begin:end] for k in ("action", "reward", "discount")}
    return seen._replace(observation={k: v[begin : end + 1] for k, v in seen.observation.items()}, **rows, **steps)


def test_error_of_directions():
    x = torch.randn(5, 7)
    torch.testing.assert_close(squared_error(x, 3 * x), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(squared_error(x, -2 * x), torch.full((5,), 4.0))
    y = torch.randn(5, 7)
    torch.testing.assert_close(squared_error(x, y), (F.normalize(x, dim=-1) - F.normalize(y, dim=-1)).square().sum(-1))


@pytest.mark.parametrize("horizon", [1, 2, K, T + 4])
def test_diagonal_is_the_triple_loop(horizon):
    """A table of different numbers; what would cross a beginning drops out."""
    reward, P = built(steps=horizon), horizon - 1
    table = torch.arange(float(horizon * (P + T) * B)).view(horizon, P + T, B) + 1
    first = torch.rand(P + T + 1, B, generator=torch.Generator().manual_seed(horizon)) < 0.2
    mask = reward.pairs(first, torch.ones_like(first))
    found = about_next(torch.where(mask, table, 0.0), T).sum(0)
    for t in range(T):
        for b in range(B):
            total = 0.0
            for k in range(1, horizon + 1):
                start = P + t + 1 - k
                if not first[start + 1 : start + k + 1, b].any():
                    total += table[k - 1, start, b].item()
            assert found[t, b].item() == total


def naive(reward, seen):
    """The summed errors about each observation [T, B] and, by (k, t, b), each of them: one environment at a time."""
    rows, envs = seen.first.shape
    found, single = torch.zeros(rows - 1, envs), {}
    with torch.no_grad():
        for b in range(envs):
            views = reward.view({k: v[:, b] for k, v in seen.observation.items()})
            z, y = reward.embedding(views), reward.target(views)
            h = torch.zeros(1, reward.config.hidden)
            for s in range(rows - 1):
                previous = seen.action[s - 1, b].item() if s else seen.state.action[b].item()
                code = torch.zeros(1, A)
                if seen.first[s, b]:
                    h = torch.zeros_like(h)
                elif previous >= 0:
                    code[0, previous] = 1
                h = reward.closed.cell(reward.closed.input(torch.cat([z[s : s + 1], code], -1)), (h,))[0]
                for k in range(1, reward.config.steps + 1):
                    if s + k > rows - 1 or seen.first[s + 1 : s + k + 1, b].any():
                        break
                    actions = seen.action[s : s + k, b].unsqueeze(-1)
                    guess = reward.predictor(reward.open(h, actions)[-1, 0])
                    error = (F.normalize(guess, dim=0) - F.normalize(y[s + k], dim=0)).square().sum()
                    single[k, s, b] = error.item()
                    found[s + k - 1, b] += error
    return found, single


@pytest.mark.parametrize("world", [VECTOR, IMAGE], ids=["vector", "image"])
@pytest.mark.parametrize("horizon", [1, K, T])
def test_against_a_naive_transcription_whole_and_in_parts(world, horizon):
    reward, seen = built(world, steps=horizon), rollout(world, T, B, 3, ends=0.12)
    assert seen.first.sum() > 3
    seen.action[~seen.valid] = -999  # was ignored
    expected, single = naive(reward, seen)
    whole = score(reward, seen)
    torch.testing.assert_close(whole.context.total, expected, atol=1e-4, rtol=1e-4)
    for cuts in ((0, 6, T), (0, 1, 3, 11, T)):
        memory, found = None, []
        for begin, end in pairwise(cuts):
            scored = score(reward, part(seen, begin, end), memory)
            memory = scored.state
            found.append(scored.context.total)
        torch.testing.assert_close(torch.cat(found), whole.context.total, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(memory, whole.state)

    value, mask = reward(seen, NOTHING, whole)
    assert value.shape == mask.shape == (horizon, T, B)
    assert {(k + 1, t, b) for k, t, b in mask.nonzero().tolist()} == single.keys()
    for (k, t, b), error in single.items():
        assert value[k - 1, t, b].item() == pytest.approx(error, abs=1e-4)
    assert figures(reward)["error"].item() == pytest.approx(sum(single.values()) / len(single), abs=1e-4)
    segment = whole._replace(context=type(whole.context)(*(x[5:] for x in whole.context)))
    again, also = reward(part(seen, 5, T), NOTHING, segment)
    torch.testing.assert_close(again[also], value[:, 5:][also])
    reduce(value, mask).backward()
    trained = {name for name, p in reward.named_parameters() if p.requires_grad}
    assert not any(name.startswith("target") for name in trained)
    assert all(p.grad.isfinite().all() and p.grad.any() for n, p in reward.named_parameters() if n in trained)


def test_nothing_is_read_across_a_reset_nor_from_neighbours():
    reward, seen = built(), rollout(VECTOR, T, B, 3, ends=0)
    seen.first[:] = False
    seen.last[:] = False
    seen.last[5, 2] = seen.first[6, 2] = True
    before = score(reward, rollout(VECTOR, T, B, 8)).state
    scored = score(reward, seen, before)
    x = seen.observation["vector"].clone()
    x[:6, 2] = torch.randn(6, V)  # the episode before
    x[:, 4] = torch.nan  # a neighbour
    action = seen.action.clone()
    action[:6, 2] = (action[:6, 2] + 1) % A
    action[5, 2] = -999
    nan = torch.full_like(seen.reward, torch.nan)
    other = seen._replace(observation={"vector": x}, action=action, reward=nan, discount=nan)
    again = score(reward, other, before)
    same = torch.ones(T, B, dtype=torch.bool)
    same[:6, 2] = same[:, 4] = False
    assert torch.equal(scored.context.total[same], again.context.total[same])
    assert not torch.equal(scored.context.total[:5, 2], again.context.total[:5, 2])
    assert scored.context.total[5, 2] == 0
    for mine, its in zip(scored.state[1:], again.state[1:], strict=True):
        assert torch.equal(mine[:4], its[:4])


@pytest.mark.parametrize("prioritise", [False, True])
def test_scale_and_priority_are_of_running_moments(prioritise):
    reward, weight, memory = built(prioritise=prioritise), [], None
    known = []
    for number in range(4):
        seen = rollout(VECTOR, T, B, number)
        before = reward.state_dict()
        before = {k: v.clone() for k, v in before.items()}
        scored = score(reward, seen, memory)
        assert all(torch.equal(v, reward.state_dict()[k]) for k, v in before.items())
        reward.observe(seen, NOTHING, scored)
        memory = scored.state
        known.append(scored.context.total[seen.valid].double())
        weight = torch.cat([torch.full((len(x),), FORGET ** (number - i)) for i, x in enumerate(known)]).double()
        values = torch.cat(known)
        mean = (weight * values).sum() / weight.sum()
        deviation = ((weight * (values - mean).square()).sum() / weight.sum()).sqrt()
        normalised = known[-1] / deviation
        expected = (normalised - mean / deviation).clamp(min=0) if prioritise else normalised
        torch.testing.assert_close(scored.raw[seen.valid].double(), expected, atol=1e-4, rtol=1e-4)
        assert figures(reward)["paid"].item() == pytest.approx((expected > 0).double().mean().item(), abs=0.02)


def test_the_target_follows_and_horizons_fit_the_unroll():
    reward = built(momentum=0.25)
    online, target = ([p.clone() for p in m.parameters()] for m in (reward.embedding, reward.target))
    reward.after_update()
    for p, o, t in zip(reward.target.parameters(), online, target, strict=True):
        torch.testing.assert_close(p, 0.75 * t + 0.25 * o)
    assert reward.length == K
    assert BYOLExploreConfig(steps=8).fitted(5).steps == 5
    assert BYOLExploreConfig(steps=8).fitted(20).steps == 8


PLACES = 5


def ring(seed, kind):
    """A place on a ring; actions move it by -1, 0 or 1. "noise": the next place is drawn."""
    g, world = torch.Generator().manual_seed(seed), spec(vector=PLACES, actions=A)
    seen = rollout(world, T, 17, seed, ends=0.03)
    place = torch.randint(PLACES, (T + 1, 17), generator=g)
    if kind == "ring":
        for t in range(T):
            place[t + 1] = torch.where(seen.first[t + 1], place[t + 1], (place[t] + seen.action[t] - 1) % PLACES)
    return world, seen._replace(observation={"vector": F.one_hot(place, PLACES).float()})


def error_after_learning(kind, updates=140):
    reward = built(ring(0, kind)[0], steps=2, size=16, hidden=32)
    trained = [p for p in reward.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 5e-3)
    for seed in range(updates):
        _, seen = ring(seed, kind)
        scored = score(reward, seen)
        optimizer.zero_grad()
        reduce(*reward(seen, NOTHING, scored)).backward()
        optimizer.step()
        reward.after_update()
        reward.observe(seen, NOTHING, scored)
    return scored.context.total[seen.valid].mean().item(), figures(reward)["chance"].item()


def test_learns_a_world_with_rules_and_is_attracted_by_noise():
    """Noise is never predicted better than by a constant, so it is paid as long as embeddings tell it apart."""
    rules, apart = error_after_learning("ring")
    noise, chance = error_after_learning("noise")
    assert min(apart, chance) > 0.1
    assert rules < 0.3 * 2 * apart  # of 2 steps' errors
    assert noise > 0.75 * 2 * chance
    assert noise > 3 * rules
