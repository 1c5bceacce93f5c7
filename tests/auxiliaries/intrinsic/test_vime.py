"""VIME: conjugate Gaussian posteriors, per-sample gradients by autograd, resets, the pool, and what noise teaches."""

import math

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.intrinsic.vime import (
    MEDIANS,
    VIME,
    Pool,
    VIMEConfig,
    Weights,
    curvature,
    divergence,
    expected_error,
    information,
    median,
    quantiles,
)
from morello.auxiliaries.reduction import reduce

from ...support.figures import figures
from ...support.rewards import NOTHING, NOWHERE, UNSCORED
from ...support.rollouts import rollout, spec

T, B, A, V = 13, 5, 3, 7
VECTOR, IMAGE, GRID = spec(vector=V, actions=A), spec(image=(23, 29, 3), actions=A), spec(image=(7, 7, 3), actions=A)
SHARP = -40.0
"""A rho of which the weight is certain."""


def built(world=VECTOR, seed=0, **settings):
    torch.manual_seed(seed)
    return VIME(
        VIMEConfig(**{"hidden": 11, "size": 17, "samples": 4, "batch": 19, "pool": 101, **settings}), world, NOWHERE
    )


def score(reward, seen):
    with torch.no_grad():
        return reward.score(seen, NOTHING, ())


def taught(reward, seen):
    with torch.no_grad():
        scored = reward.score(seen, NOTHING, ())
        reward.observe(seen, NOTHING, scored)
    return scored


# A conjugate model: y = w x + noise, w normal.


def updated(mean, variance, x, y, noise=1.0):
    precision = 1 / variance + x**2 / noise**2
    return (mean / variance + x * y / noise**2) / precision, 1 / precision


def divergence_of(mean, variance, other, broader):
    return 0.5 * (math.log(broader / variance) + (variance + (mean - other) ** 2) / broader - 1)


def test_oracles_of_the_conjugate_reference():
    assert updated(0.0, 1.0, 1.0, 2.0) == (1.0, 0.5)
    assert divergence_of(1.0, 0.5, 0.0, 1.0) == pytest.approx(0.59657, abs=5e-6)
    y = torch.randn(10**6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * math.sqrt(2)
    expected = (0.5 * (math.log(2) + 0.5 + (y / 2).square() - 1)).mean().item()
    assert expected == pytest.approx(0.5 * math.log(1 + 1.0), abs=2e-3)  # .34657
    chain = [0.5 * math.log(1 + 1 / n) for n in range(1, 11)]
    assert sum(chain) == pytest.approx(1.1989, abs=5e-5)


def test_curvature_is_the_second_derivative_of_the_divergence():
    rho = torch.tensor(-0.3, dtype=torch.float64)
    assert curvature(rho)[1].item() == pytest.approx(1.1786, abs=5e-5)
    for value in (-4.0, -0.3, 1.7):
        rho, step = torch.tensor(value, dtype=torch.float64), 1e-4
        sigma = F.softplus(rho).item()

        def kl(mean=0.0, by=0.0, rho=rho, sigma=sigma):
            return divergence_of(mean, F.softplus(rho + by).item() ** 2, 0.0, sigma**2)

        by_mu, by_rho = curvature(rho)
        assert by_mu.item() == pytest.approx((kl(step * sigma) + kl(-step * sigma)) / (step * sigma) ** 2, rel=1e-4)
        assert by_rho.item() == pytest.approx((kl(by=step) + kl(by=-step)) / step**2, rel=1e-4)


def line(mean, variance):
    """A network that computes w x for x > 0 with all weights but w certain."""
    one = Weights(torch.tensor([[1.0, 0.0]]), torch.full((1, 2), SHARP))
    rho = torch.tensor([[math.log(math.expm1(math.sqrt(variance))), SHARP]])
    return one, Weights(torch.tensor([[mean, 0.0]]), rho)


def test_agrees_with_the_conjugate_posterior_once_that_is_narrow():
    """One Newton step with the divergence's curvature alone is as far as an exact update if much was seen before."""
    xi = quantiles(3, 1)
    for n in (10, 100, 1000):
        mean, variance = 0.7, 1 / n  # of a prior N(., 1) after n - 1 observations at x = 1, noise 1
        y = mean + math.sqrt(1 + variance) * torch.special.ndtri((torch.arange(997) + 0.5) / 997)  # its predictions
        weights = line(mean, variance)
        found = information(*weights, torch.ones(997, 2), y.unsqueeze(-1), xi, 1.0)
        exact = [divergence_of(*updated(mean, variance, 1.0, z), mean, variance) for z in y.tolist()]
        assert found.mean().item() == pytest.approx(sum(exact) / 997, rel=3 / n)
        assert found.mean().item() == pytest.approx(0.5 * math.log(1 + 1 / n), rel=3 / n + 0.01)
        assert (found - torch.tensor(exact)).abs().max() < 3 / n * max(exact)
    closed = 0.5 * (4 / 1 + 0.5)  # at N(0, 1) and y = 2: g = -2 and 1 / 2 by the variance
    weights = line(0.0, 1.0)
    assert information(*weights, torch.ones(1, 2), torch.full((1, 1), 2.0), xi, 1.0).item() == pytest.approx(closed)


def test_what_noise_teaches_declines_though_its_surprise_does_not():
    """The chain rule: observations of pure noise add up to 1/2 ln (1 + n)."""
    g, found, surprise = torch.Generator().manual_seed(0), [], []
    y = torch.randn(199, 1, generator=g)
    mean, variance = 0.0, 1.0
    for n in range(1, 400):
        found.append(
            information(
                *line(mean, variance), torch.ones(199, 2), mean + y * math.sqrt(1 + variance), quantiles(1, 1), 1.0
            )
            .mean()
            .item()
        )
        surprise.append((y.square().mean() * (1 + variance) / 2).item())
        variance = 1 / (1 / variance + 1)
    assert sum(found[100:]) == pytest.approx(0.5 * math.log(400 / 101), rel=0.1)
    assert found[-1] < found[39] / 9
    assert surprise[-1] > 0.9 * surprise[39]


@pytest.mark.parametrize(("samples", "noise"), [(1, 1.0), (5, 0.3)])
def test_against_gradients_of_single_transitions(samples, noise):
    g = torch.Generator().manual_seed(samples)

    def drawn(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    N, inputs, hidden, D = 23, 6, 7, 5
    one, two = (
        Weights(drawn(hidden, inputs), drawn(hidden, inputs)),
        Weights(drawn(D, hidden + 1), drawn(D, hidden + 1)),
    )
    x, y, xi = drawn(N, inputs), drawn(N, D), drawn(samples, 1, hidden)
    found = information(one, two, x, y, xi, noise)
    for n in range(N):
        leaves = [w.clone().requires_grad_() for w in (*one, *two)]
        h = torch.zeros(hidden, dtype=torch.float64)
        loss = 0.0
        for s in range(samples):
            sigma = F.softplus(leaves[1])
            h = (leaves[0] @ x[n] + xi[s, 0] * (sigma.square() @ x[n].square()).sqrt()).relu()
            h = torch.cat([h, torch.ones(1, dtype=torch.float64)])
            spread = F.softplus(leaves[3]).square() @ h.square()
            loss = loss + ((leaves[2] @ h - y[n]).square() + spread).sum() / (2 * noise**2) / samples
        again = expected_error(one, two, x[n : n + 1], y[n : n + 1], xi, noise)
        torch.testing.assert_close(again.sum(), loss.detach())
        gradients = torch.autograd.grad(loss, leaves)
        kl = 0.0
        for gradient, w, by_mu in zip(gradients, (one.rho, one.rho, two.rho, two.rho), (True, False) * 2, strict=True):
            sigma = F.softplus(w)
            slope = w.exp() / (1 + w.exp())
            hessian = 1 / sigma**2 if by_mu else 2 * slope**2 / sigma**2
            kl += (gradient.square() / hessian).sum().item() / 2
        assert found[n].item() == pytest.approx(kl, rel=1e-9)


def test_divergence_from_the_prior():
    g = torch.Generator().manual_seed(0)
    weights = Weights(torch.randn(3, 5, generator=g), torch.randn(3, 5, generator=g))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(weights.mu, F.softplus(weights.rho)), torch.distributions.Normal(0.0, 0.5)
    ).sum()
    torch.testing.assert_close(divergence(weights, 0.5), expected)


@pytest.mark.parametrize("world", [VECTOR, IMAGE, GRID], ids=["vector", "image", "grid"])
def test_every_transition_is_scored_as_if_alone_and_no_reset_is_read(world):
    reward = built(world)
    for seed in range(3):
        taught(reward, rollout(world, T, B, 10 + seed))
    seen = rollout(world, T, B, 1, ends=0.25)
    assert 5 < seen.valid.sum() < T * B
    before = {k: v.clone() for k, v in reward.state_dict().items() if isinstance(v, torch.Tensor)}
    scored = score(reward, seen)
    after = {k: reward.state_dict()[k] for k in before}
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)  # medians that are not there are NaN
    unit = reward.medians[-3:].mean()
    for t, b in seen.valid.nonzero().tolist():
        rows = {k: v[t : t + 2, b : b + 1] for k, v in seen.observation.items()}
        alone = seen._replace(
            observation=rows,
            first=torch.zeros(2, 1, dtype=torch.bool),
            last=torch.zeros(2, 1, dtype=torch.bool),
            reward=torch.zeros(1, 1),
            action=seen.action[t : t + 1, b : b + 1],
        )
        torch.testing.assert_close(score(reward, alone).raw[0, 0], scored.raw[t, b], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(scored.raw * unit, scored.context.information)

    broken = seen._replace(
        reward=seen.reward * torch.nan,
        discount=seen.discount * torch.nan,
        action=torch.where(seen.valid, seen.action, -999),
    )
    again = score(reward, broken)
    assert again.raw.isfinite().all()
    assert torch.equal(scored.raw[seen.valid], again.raw[seen.valid])
    order = torch.randperm(B)
    moved = seen._replace(
        observation={k: v[:, order] for k, v in seen.observation.items()},
        action=seen.action[:, order],
        first=seen.first[:, order],
        last=seen.last[:, order],
    )
    torch.testing.assert_close(score(reward, moved).raw, scored.raw[:, order], rtol=1e-3, atol=1e-5)


def test_two_halves_are_scored_as_the_whole():
    reward = built()
    taught(reward, rollout(VECTOR, T, B, 9))
    seen, cut = rollout(VECTOR, T, B, 1), 6

    def part(begin, end):
        rows = {k: getattr(seen, k)[begin : end + 1] for k in ("first", "last")}
        steps = {k: getattr(seen, k)[begin:end] for k in ("action", "reward", "discount")}
        return seen._replace(observation={k: v[begin : end + 1] for k, v in seen.observation.items()}, **rows, **steps)

    halves = torch.cat([score(reward, part(0, cut)).raw, score(reward, part(cut, T)).raw])
    torch.testing.assert_close(halves, score(reward, seen).raw)


def test_the_pool_keeps_the_newest_valid_transitions_in_a_ring():
    capacity, D = 7, 2
    pool, g, written = Pool(capacity, D), torch.Generator().manual_seed(0), []
    for number, N in enumerate((3, 5, 11, 1, 2, 23)):
        valid = torch.rand(N, generator=g) < 0.7
        names = torch.arange(N) + 100.0 * number
        x = torch.where(valid, names, torch.nan).unsqueeze(-1).expand(N, D)
        pool.add(x, torch.where(valid, names, -999).long(), x + 0.5, valid)
        written = (written + names[valid].tolist())[-capacity:]
        assert pool.count.item() == len(written)
        assert sorted(pool.action[: pool.count].tolist()) == sorted(written)
        before, action, after = pool.draw(300, g)
        assert set(action.tolist()) == set(written)
        assert torch.equal(before, action.unsqueeze(-1).expand(-1, D).float())
        assert torch.equal(after, before + 0.5)


def test_the_loss_is_of_the_pool_alone_and_resumes():
    reward, seen = built(), rollout(VECTOR, T, B, 1)
    value, mask = reward(seen, NOTHING, UNSCORED)
    assert not mask.any()
    assert value.isfinite().all()
    taught(reward, seen)
    other = built(seed=3)
    other.load_state_dict(reward.state_dict())
    for _ in range(3):
        value, mask = reward(seen, NOTHING, UNSCORED)
        again, _ = other(rollout(VECTOR, T, B, 7), NOTHING, UNSCORED)
        assert mask.all()
        assert torch.equal(value, again)
    assert torch.equal(score(reward, seen).raw, score(other, seen).raw)
    reduce(value, mask).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in reward.parameters() if p.requires_grad)
    assert reward.pool.count == seen.valid.sum()


def test_the_unit_is_the_mean_of_the_latest_medians():
    reward, found = built(), []
    for seed in range(MEDIANS + 4):
        seen = rollout(VECTOR, T, B, seed)
        scored = taught(reward, seen)
        known = scored.context.information[seen.valid]
        unit = sum(found[-MEDIANS:]) / len(found[-MEDIANS:]) if found else known.median().item()
        torch.testing.assert_close(scored.raw, scored.context.information / unit)
        found.append(known.median().item())
    nothing = seen._replace(last=torch.ones_like(seen.last))
    held = reward.medians.clone()
    assert taught(reward, nothing).raw.isfinite().all()
    assert torch.equal(held, reward.medians)
    assert median(torch.tensor([3.0, 1.0, 9.0, 2.0]), torch.tensor([True, True, False, True])) == 2


def test_quantiles_are_standard_normal_for_each_unit():
    xi = quantiles(501, 7)
    torch.testing.assert_close(xi.sort(0).values[:, 0], xi[:, :, :1].sort(0).values.expand(-1, 1, 7)[:, 0])
    assert xi.mean(0).abs().max() < 1e-5
    assert (xi.square().mean(0) - 1).abs().max() < 0.01
    assert not torch.equal(xi[..., 0], xi[..., 1])


PLACES = 5


def ring(seed, kind, T=16, B=16):
    """A place on a ring; actions move it by -1, 0 or 1, or ("noise") the next place is drawn. The last value tells the
    room: 0, or 1 for ("new").
    """
    g, world = torch.Generator().manual_seed(seed), spec(vector=PLACES + 2, actions=A)
    seen = rollout(world, T, B, seed, ends=0.05)
    place = torch.randint(PLACES, (T + 1, B), generator=g)
    if kind != "noise":
        for t in range(T):
            place[t + 1] = torch.where(seen.first[t + 1], place[t + 1], (place[t] + seen.action[t] - 1) % PLACES)
    mark = F.one_hot(torch.full((T + 1, B), int(kind == "new")), 2)
    return world, seen._replace(observation={"vector": torch.cat([F.one_hot(place, PLACES), mark], -1).float()})


def test_learns_rules_and_tires_of_noise_but_not_of_what_is_new():
    """Half of the environments show noise. Its error remains, its information does not; a second room is new, and
    taught on its own it soon is not.
    """
    world, _ = ring(0, "ring")
    reward = built(world, hidden=32, batch=64, pool=8192)
    optimizer = torch.optim.Adam(reward.parameters(), 5e-3)
    early, late = {}, {}

    def learn(kinds, seeds):
        for seed in seeds:
            for kind in kinds:
                _, seen = ring(seed, kind)
                scored = taught(reward, seen)
                early.setdefault(kind, figures(reward)["information"].item())
                late[kind] = figures(reward)["information"].item()
            for _ in range(4):
                optimizer.zero_grad()
                reduce(*reward(seen, NOTHING, scored)).backward()
                optimizer.step()

    learn(["ring"], range(40))
    assert figures(reward)["explained"] > 0.9
    assert late["ring"] < early["ring"] / 10
    learn(["noise"], range(40, 80))
    assert figures(reward)["explained"] < 0.3
    assert late["noise"] < early["noise"] / 5
    new = score(reward, ring(200, "new")[1]).context.information.mean().item()
    assert new > 3 * late["noise"]
    learn(["new"], range(200, 240))
    assert late["new"] < new / 5
