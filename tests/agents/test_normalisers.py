"""What divides a bonus: filters over time against numbers worked out by hand, start-up, drift and constants."""

import math

import pytest
import torch

from morello.agents.normalisers import FORGET, NORMALISERS, STANDARD, Moments, running_returns

T, B = 11, 5


def everywhere(reward):
    return torch.ones_like(reward, dtype=torch.bool)


def test_a_filter_runs_over_time_in_each_environment():
    """Rewards constant in time, 1 to 4 by environment, over 128 steps: 74.68, and 3.353 if it ran over environments."""
    reward = torch.arange(1.0, 5).expand(128, 4)
    f = running_returns(reward, everywhere(reward), torch.zeros(4), gamma=0.99)
    assert f.std(unbiased=False).item() == pytest.approx(74.68, abs=0.005)
    halves = running_returns(reward[:50], everywhere(reward[:50]), torch.zeros(4), gamma=0.99)
    rest = running_returns(reward[50:], everywhere(reward[50:]), halves[-1], gamma=0.99)
    assert torch.equal(torch.cat([halves, rest]), f)


@pytest.mark.parametrize(("gamma", "variance"), [(0.9, 5.263), (0.99, 50.25)])
def test_of_independent_rewards_it_is_their_deviation_over_the_root_of_1_minus_gamma_squared(gamma, variance):
    reward = torch.randn(40_000, 97, generator=torch.Generator().manual_seed(1))
    f = running_returns(reward, everywhere(reward), torch.zeros(97), gamma=gamma)[2000:]
    assert f.var().item() == pytest.approx(variance, rel=0.02)


def test_rows_that_cross_a_reset_hand_it_on():
    reward, valid = torch.tensor([[1.0], [math.nan], [1.0]]), torch.tensor([[True], [False], [True]])
    f = running_returns(reward, valid, torch.zeros(1), gamma=0.5)
    assert f.flatten().tolist() == [1, 1, 1.5]


def test_moments_are_those_of_what_was_seen():
    x = torch.randn(T, B, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3 + 7
    mask = torch.rand(T, B, generator=torch.Generator().manual_seed(3)) < 0.6
    moments = Moments(forget=1.0)
    for rows, there in zip(x.split(4), mask.split(4), strict=True):
        moments.update(torch.where(there, rows, math.nan), there)
    torch.testing.assert_close(moments.mean, x[mask].mean())
    torch.testing.assert_close(moments.deviation, x[mask].std(unbiased=False))
    torch.testing.assert_close(moments.root_mean_square, x[mask].square().mean().sqrt())


def test_moments_forget():
    moments = Moments(forget=0.5)
    for level in [100.0] * 20 + [1.0] * 20:
        moments.update(torch.full((3, 2), level), torch.ones(3, 2, dtype=torch.bool))
    assert moments.mean.item() == pytest.approx(1, abs=1e-3)


def normalised(kind, rewards, gamma=0.99):
    normaliser = NORMALISERS[kind](gamma)
    state, found = normaliser.initial_state(rewards[0]), []
    for reward in rewards:
        divided, _, state = normaliser(reward, everywhere(reward), state)
        found.append(divided)
    return found


@pytest.mark.parametrize("kind", NORMALISERS)
def test_a_constant_bonus_does_not_explode(kind):
    for divided in normalised(kind, [torch.full((T, B), 1.0)] * 30):
        assert divided.abs().max() <= 1
    assert all(x.eq(0).all() for x in normalised(kind, [torch.zeros(T, B)] * 3))


@pytest.mark.parametrize("kind", sorted({*NORMALISERS} - {"none"}))
def test_the_scale_of_a_bonus_does_not_matter(kind):
    generator = torch.Generator().manual_seed(4)
    rewards = [torch.rand(T, B, generator=generator) for _ in range(9)]
    for one, other in zip(normalised(kind, rewards), normalised(kind, [1000 * x for x in rewards]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def filtered(kind, gamma=0.9):
    """The divisor after each of three rollouts with rows that cross resets, whose rewards are NaN, and a plain loop of
    one filter per environment that only begins once, in float64.
    """
    generator = torch.Generator().manual_seed(8)
    rewards = [torch.rand(T, B, generator=generator) * 3 for _ in range(3)]
    there = [torch.rand(T, B, generator=generator) < 0.8 for _ in range(3)]
    normaliser = NORMALISERS[kind](gamma)
    state, found, expected = normaliser.initial_state(rewards[0]), [], []
    f = weight = total = squares = sizes = None
    for reward, valid in zip(rewards, there, strict=True):
        _, divisor, state = normaliser(torch.where(valid, reward, math.nan), valid, state)
        found.append(divisor.item())
        rows = reward.double()
        mean = rows[valid].mean()
        f = mean.expand(B) / (1 - gamma) if f is None else f
        spread = []
        for t in range(T):
            f = torch.where(valid[t], gamma * f + rows[t], f)
            spread.append(f)
        x = (torch.stack(spread) if kind == "return" else rows)[valid]
        x, size = x - x.mean(), rows[valid].abs()
        new = [torch.tensor(float(len(x))), x.sum(), x.square().sum(), size.sum()]
        old = [0.0] * 4 if weight is None else [FORGET * y for y in (weight, total, squares, sizes)]
        weight, total, squares, sizes = (a + b for a, b in zip(old, new, strict=True))
        deviation = (squares / weight - (total / weight).square()).sqrt()
        expected.append(max(deviation.item(), (sizes / weight).item()))
    return found, expected


@pytest.mark.parametrize("kind", ["return", "reward"])
def test_divisors_are_those_of_a_loop_that_leaves_out_rows_that_cross_resets(kind):
    found, expected = filtered(kind)
    assert found == pytest.approx(expected, rel=1e-4)


def with_resets(rollouts=4, scale=3.0, shift=2.0):
    """Rewards that drift, NaN where they cross a reset, and where they do not."""
    generator = torch.Generator().manual_seed(9)
    valid = [torch.rand(T, B, generator=generator) < 0.8 for _ in range(rollouts)]
    rewards = [torch.rand(T, B, generator=generator) * scale + shift * i for i in range(rollouts)]
    return [torch.where(v, r, math.nan) for r, v in zip(rewards, valid, strict=True)], valid


def test_standard_rewards_are_those_of_all_rollouts_weighted_by_age():
    rewards, valid = with_resets()
    normaliser, seen = NORMALISERS["standard"](0.99), []
    for age, (reward, there) in enumerate(zip(rewards, valid, strict=True)):
        found, divisor, _ = normaliser(reward, there, ())
        seen.append(reward[there].double())
        x = torch.cat(seen)
        weight = torch.cat([torch.full_like(r, STANDARD ** (age - i)) for i, r in enumerate(seen)])
        mean = (weight * x).sum() / weight.sum()
        deviation = ((weight * (x - mean).square()).sum() / weight.sum()).sqrt()
        assert divisor.item() == pytest.approx(deviation.item(), rel=1e-5)
        torch.testing.assert_close(found[there].double(), (seen[-1] - mean) / deviation, rtol=1e-4, atol=1e-5)
        assert not found[~there].any()


def test_a_standard_reward_that_hardly_varies_is_not_scaled_up():
    reward = torch.full((T, B), 5.0)
    reward[0, 0] = 5.001
    found = normalised("standard", [reward] * 3)[-1]
    assert 0 < found[0, 0] < 0.03


def test_the_range_of_recent_rewards_is_0_to_1():
    rewards, valid = with_resets()
    normaliser = NORMALISERS["minmax"](0.99)
    low, high = None, None
    for reward, there in zip(rewards, valid, strict=True):
        found, divisor, _ = normaliser(reward, there, ())
        least, most = reward[there].min().item(), reward[there].max().item()
        low = least if low is None else min(least, FORGET * low + (1 - FORGET) * least)
        high = most if high is None else max(most, FORGET * high + (1 - FORGET) * most)
        assert divisor.item() == pytest.approx(high - low, rel=1e-5)
        torch.testing.assert_close(found[there], (reward[there] - low) / (high - low))
        assert found.min() >= 0
        assert found.max() <= 1
        assert not found[~there].any()
    nothing = torch.zeros(T, B, dtype=torch.bool)
    after, same, _ = normaliser(torch.full((T, B), math.nan), nothing, ())
    assert same == divisor
    assert not after.any()


def test_an_outlier_widens_the_range_and_is_forgotten():
    usual = torch.linspace(0, 1, T * B).view(T, B)
    found = normalised("minmax", [usual, 100 * usual, *[usual] * 200])
    assert [x.max().item() for x in (found[0], found[1])] == [1, 1]
    assert found[2].max() < 0.02
    assert found[-1].max() > 0.99


def test_an_advantage_is_divided_by_its_own_size():
    generator = torch.Generator().manual_seed(10)
    advantages = [torch.randn(T, B, generator=generator) * 3 + 1 for _ in range(3)]
    valid = [torch.rand(T, B, generator=generator) < 0.8 for _ in range(3)]
    normaliser, squares, count = NORMALISERS["advantage"](0.99), 0.0, 0.0
    for advantage, there in zip(advantages, valid, strict=True):
        found, divisor = normaliser.scaled(torch.where(there, advantage, 0.0), there, fresh=True)
        squares = FORGET * squares + advantage[there].double().square().sum().item()
        count = FORGET * count + there.sum().item()
        assert divisor.item() == pytest.approx(math.sqrt(squares / count), rel=1e-5)
        torch.testing.assert_close(found[there], advantage[there] / divisor)
    replayed, same = normaliser.scaled(100 * advantages[0], valid[0], fresh=False)
    assert same == divisor
    torch.testing.assert_close(replayed, 100 * advantages[0] / divisor)
    bad = torch.full((T, B), math.nan)
    normaliser.scaled(bad, everywhere(bad), fresh=True)
    assert normaliser.scaled(advantages[0], valid[0], fresh=False)[1].isfinite()


def test_the_advantage_of_a_reward_of_nothing_is_not_scaled_up():
    normaliser = NORMALISERS["advantage"](0.99)
    noise = torch.full((T, B), 0.001)
    assert normaliser.scaled(noise, everywhere(noise), fresh=True)[0].max().item() == pytest.approx(0.01)


@pytest.mark.parametrize("kind", sorted({*NORMALISERS} - {"advantage"}))
def test_others_leave_advantages_alone(kind):
    advantage = torch.ones(T, B)
    found, divisor = NORMALISERS[kind](0.99).scaled(advantage, everywhere(advantage), fresh=True)
    assert found is advantage
    assert divisor is None


def test_neither_start_up_nor_drift_swallows_the_bonus():
    """A bonus that falls a hundredfold, with noise a fifth of it. The plain filter, which begins at 0 and never
    forgets, ends by dividing it away.
    """
    generator = torch.Generator().manual_seed(5)
    level = torch.logspace(0, -2, 400)
    rewards = [x * (1 + 0.2 * torch.randn(20, 8, generator=generator)) for x in level]
    found = normalised("return", rewards)
    early, late = found[3].mean().item(), found[-1].mean().item()
    assert early > 0.2
    assert late > 0.4
    plain = running_returns(torch.cat(rewards), everywhere(torch.cat(rewards)), torch.zeros(8), gamma=0.99)
    assert (rewards[-1] / plain.std()).mean() < 0.002


def test_they_go_on_from_their_state():
    generator = torch.Generator().manual_seed(6)
    rewards = [torch.rand(T, B, generator=generator) * scale for scale in (1.0, 1.0, 0.5, 0.5)]  # the range narrows
    for kind in NORMALISERS.values():
        one, other = kind(0.9), kind(0.9)
        state = one.initial_state(rewards[0])
        for reward in rewards[:2]:
            _, _, state = one(reward, everywhere(reward), state)
            one.scaled(3 * reward, everywhere(reward), fresh=True)
        other.load_state_dict(one.state_dict())
        for reward in rewards[2:]:
            expected, divided = one(reward, everywhere(reward), state), other(reward, everywhere(reward), state)
            assert torch.equal(expected[0], divided[0])
            state = expected[2]
            scaled = [each.scaled(reward, everywhere(reward), fresh=True)[0] for each in (one, other)]
            assert torch.equal(*scaled)


@pytest.mark.parametrize(
    ("kind", "buffer"),
    [("return", "moments.squares"), ("standard", "size.total"), ("minmax", "low"), ("advantage", "advantages.count")],
)
def test_statistics_that_cannot_be_are_not_sound(kind, buffer):
    normaliser = NORMALISERS[kind](0.99)
    assert normaliser.sound
    normaliser.get_buffer(buffer).fill_(math.nan)
    assert not normaliser.sound


def test_the_range_of_a_reward_that_hardly_varies_is_not_scaled_up():
    jitter = 1 + 1e-7 * torch.randint(3, (T, B), generator=torch.Generator().manual_seed(7))
    assert normalised("minmax", [jitter] * 3)[-1].max() < 1e-4
    constant = torch.full((T, B), 0.7)
    found = normalised("minmax", [torch.linspace(0, 1, T * B).view(T, B), *[constant] * 400])
    assert found[1].max() > 0.5
    assert found[-1].max() < 1e-4
