"""Disagreement: the ensemble against its models one by one, bootstrap means of noise, and a noisy television."""

import copy

import pytest
import torch

from morello.auxiliaries.intrinsic.disagreement import Disagreement, DisagreementConfig, disagreement
from morello.auxiliaries.intrinsic.parts.dynamics import ResidualModels
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes

from ...support.figures import figures
from ...support.rewards import NOTHING
from ...support.rollouts import rollout, spec

T, B, A, V, N = 13, 7, 3, 5, 211
BOTH = spec(image=(23, 29, 3), vector=V, actions=A)
VECTOR = spec(vector=V, actions=A)


def built(world, seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"size": 11, "hidden": 17, **settings}
    reward = Disagreement(DisagreementConfig(**settings), world, Sizes(None, 5, 7))
    reward.warm_up(rollout(world, 11, 7, seed=99))
    return reward


def snapshot(reward):
    return {name: x.clone() for name, x in reward.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_variance_is_divided_by_the_number_of_models():
    guesses = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]], [[5.0, 3.0]]])  # variances 8/3 and 2
    torch.testing.assert_close(disagreement(guesses), torch.tensor([7 / 3]))


@pytest.mark.parametrize(("n", "expected"), [(10, 0.072), (100, 0.0079), (1000, 0.0008)])
def test_bootstrap_means_of_noise(n, expected):
    """The variance of 5 means, each of n draws from n samples of unit variance: (4/5) (1/n) (1 - 1/n)."""
    g, repeats = torch.Generator().manual_seed(n), 2_000_000 // n
    noise = torch.randn(repeats, n, generator=g)
    means = torch.stack([noise.gather(1, torch.randint(n, (repeats, n), generator=g)).mean(1) for _ in range(5)])
    found = disagreement(means.unsqueeze(-1)).mean().item()
    assert expected == pytest.approx(0.8 / n * (1 - 1 / n), rel=0.02)
    assert found == pytest.approx(expected, rel=0.05)


@torch.no_grad()
def test_models_side_by_side_are_models_one_by_one():
    torch.manual_seed(0)
    models, x, action = ResidualModels(5, V, A, 17, 2), torch.randn(T, B, V), torch.randint(A, (T, B))
    together = models(x, action)
    assert together.shape == (5, T, B, V)
    for m in range(5):
        alone = ResidualModels(1, V, A, 17, 2)
        alone.load_state_dict({name: w[m : m + 1] for name, w in models.state_dict().items()})
        torch.testing.assert_close(alone(x, action)[0], together[m])
        assert m == 0 or not torch.isclose(together[m], together[0]).any()


@torch.no_grad()
def test_scores_one_by_one():
    reward, seen = built(BOTH), rollout(BOTH, T, B, seed=3)
    scored = reward.score(seen, NOTHING, ()).raw
    assert not seen.valid.all()
    for t, b in seen.valid.nonzero().tolist():
        views = reward.whitening(reward.view({k: x[t : t + 1, b : b + 1] for k, x in seen.observation.items()}))
        guesses = reward.dynamics(reward.embedding(views), seen.action[t : t + 1, b]).squeeze(1).tolist()
        total = 0.0
        for values in zip(*guesses, strict=True):
            mean = sum(values) / 5
            total += sum((value - mean) ** 2 for value in values) / 5
        assert scored[t, b].item() == pytest.approx(total / 11, rel=1e-3)


def test_nothing_is_read_across_a_reset():
    reward, seen = built(BOTH), rollout(BOTH, T, B, seed=3)
    odd = seen._replace(action=torch.where(seen.valid, seen.action, 10**9))
    found = []
    for one in (seen, odd):
        fresh = copy.deepcopy(reward)
        with torch.no_grad():
            scored = fresh.score(one, NOTHING, ())
        value, mask = fresh(one, NOTHING, scored)
        assert not mask[:, ~seen.valid].any()
        reduce(value, mask).backward()
        found.append((scored.raw[seen.valid], torch.cat([p.grad.flatten() for p in fresh.dynamics.parameters()])))
        assert found[-1][1].isfinite().all()
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@torch.no_grad()
def test_neither_neighbours_nor_a_cut_matter():
    reward, seen = built(VECTOR), rollout(VECTOR, T, B, seed=3)
    whole = reward.score(seen, NOTHING, ()).raw
    for b in (0, 4):
        names = ("first", "last", "task", "action", "logits", "reward", "discount", "skill")
        column = {k: getattr(seen, k)[:, b : b + 1] for k in names}
        alone = seen._replace(observation={k: x[:, b : b + 1] for k, x in seen.observation.items()}, **column)
        torch.testing.assert_close(reward.score(alone, NOTHING, ()).raw, whole[:, b : b + 1])
    halves = []
    for begin, end in ((0, 6), (6, T)):
        rows = {k: x[begin : end + 1] for k, x in seen.observation.items()}
        ends = {k: getattr(seen, k)[begin : end + 1] for k in ("first", "last", "task")}
        steps = {k: getattr(seen, k)[begin:end] for k in ("action", "reward", "discount")}
        halves.append(reward.score(seen._replace(observation=rows, **ends, **steps), NOTHING, ()).raw)
    torch.testing.assert_close(torch.cat(halves), whole)


@torch.no_grad()
def test_subsets_are_each_models_own_and_the_same_after_a_restart():
    reward, seen = built(VECTOR), rollout(VECTOR, 61, 53, seed=3)
    before = snapshot(reward)
    first = reward.score(seen, NOTHING, ())
    assert same(before, snapshot(reward))  # scoring changes nothing
    again = reward.score(seen, NOTHING, ())
    assert torch.equal(first.context.kept, again.context.kept)
    kept = first.context.kept.flatten(0, 1).float()
    torch.testing.assert_close(kept.mean(0), torch.full((5,), 0.8), atol=0.03, rtol=0)
    assert (torch.corrcoef(kept.T) - torch.eye(5)).abs().max() < 0.07

    reward.observe(seen, NOTHING, first)
    other = built(VECTOR, seed=1)
    other.load_state_dict(reward.state_dict())
    second, resumed = reward.score(seen, NOTHING, ()).context.kept, other.score(seen, NOTHING, ()).context.kept
    assert torch.equal(second, resumed)
    share = (second == first.context.kept).float().mean().item()
    assert share == pytest.approx(0.8**2 + 0.2**2, abs=0.03)  # drawn anew


def test_a_model_learns_from_its_own_transitions_alone():
    """In each epoch from the same ones; the first model from none here."""
    reward, seen = built(VECTOR), rollout(VECTOR, T, B, seed=3)
    with torch.no_grad():
        scored = reward.score(seen, NOTHING, ())
    kept = scored.context.kept.clone()
    kept[..., 0] = False
    scored = scored._replace(context=scored.context._replace(kept=kept))
    for _ in range(2):
        value, mask = reward(seen, NOTHING, scored)
        assert value.shape == (5, T, B)
        assert torch.equal(mask, kept.permute(2, 0, 1) & seen.valid)
    reduce(value, mask).backward()
    norms = reward.dynamics.leave.weight.grad.flatten(1).norm(dim=1)
    assert norms[0] == 0
    assert (norms[1:] > 0).all()


def television(update):
    """Action 1 shows noise, others turn what is seen; the last action is not taken in the first half of a life."""
    seen, own = rollout(VECTOR, 1, N, update, ends=0), torch.Generator().manual_seed(update)
    turned = torch.randn(N, V, generator=own)
    noise = torch.randn(N, V, generator=own)
    action = torch.randint(2, (1, N), generator=own)
    shown = torch.where((action[0] == 1).unsqueeze(-1), noise, turned.roll(1, -1))
    return seen._replace(action=action, observation={"vector": torch.stack([turned, shown])})


def test_a_noisy_television_is_left_and_what_was_never_done_is_not():
    """Models come to agree on the mean of noise, on which prediction error stays; not on an action never taken."""
    reward = built(VECTOR, hidden=32)
    reward.warm_up(television(10**6))
    optimizer = torch.optim.Adam([p for p in reward.parameters() if p.requires_grad], 5e-3)
    noise, known = [], []
    for update in range(400):
        if update == 300:
            optimizer.param_groups[0]["lr"] = 5e-4
        seen = television(update)
        with torch.no_grad():
            scored = reward.score(seen, NOTHING, ())
            reward.observe(seen, NOTHING, scored)
        noise.append(scored.raw[seen.action == 1].mean())
        known.append(scored.raw[seen.action == 0].mean())
        optimizer.zero_grad()
        reduce(*reward(seen, NOTHING, scored)).backward()
        optimizer.step()
    late = torch.stack(noise[-20:]).mean()
    assert noise[0] > 0.05
    assert late < 0.05 * noise[0]
    assert torch.stack(known[-20:]).mean() < 0.05 * known[0]
    assert figures(reward)["forward_error"] > 0.3  # of noise half of the time
    with torch.no_grad():
        unknown = reward.score(seen._replace(action=torch.full((1, N), 2)), NOTHING, ()).raw.mean()
    assert unknown > 10 * late
