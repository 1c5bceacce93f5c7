"""Return estimators against hand-worked numbers and brute force."""

import math

import pytest
import torch

from morello.auxiliaries.returns import across_resets, n_step_return, vtrace

from ..support.oracles import episodes, vtrace_sum

NAN = math.nan


def column(*values):
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)


def yes(steps):
    return torch.ones(steps, 1, dtype=torch.bool)


def test_vtrace_two_steps_by_hand():
    target, advantage = vtrace(
        column(math.log(2), math.log(0.5)), column(1, 1), column(0.9, 0.9), column(1, 2, 3), yes(2)
    )
    assert target.flatten().tolist() == pytest.approx([3.565, 2.85])
    assert advantage.flatten().tolist() == pytest.approx([2.565, 0.85])


@pytest.mark.parametrize("steps", range(1, 8))
@pytest.mark.parametrize(("rho_bar", "c_bar", "lambda_"), [(1.0, 1.0, 1.0), (1.7, 0.6, 1.0), (1.3, 0.9, 0.8)])
def test_vtrace_equals_the_papers_sum_in_every_episode(steps, rho_bar, c_bar, lambda_):
    generator = torch.Generator().manual_seed(steps)
    B = 11
    log_rho = torch.randn(steps, B, generator=generator)
    reward = 1 + torch.randn(steps, B, generator=generator)
    value = 2 + torch.randn(steps + 1, B, generator=generator)
    last = torch.rand(steps + 1, B, generator=generator) < 0.3
    last[1:] &= ~last[:-1]  # the row after a last one is first
    terminated = torch.rand(steps, B, generator=generator) < 0.5
    discount = torch.where(last[1:] & terminated, 0.0, 0.93)
    valid = ~last[:-1]
    poisoned = [torch.where(valid, x, NAN) for x in (log_rho, reward, discount)]
    target, advantage = vtrace(*poisoned, value, valid, rho_bar=rho_bar, c_bar=c_bar, lambda_=lambda_)
    assert (log_rho.exp() > max(rho_bar, c_bar)).any() or steps < 3  # the clips bind
    for b in range(B):
        expected_target, expected_advantage = value[:-1, b].tolist(), [0.0] * steps
        for begin, end in episodes(last[:, b].tolist()):
            pieces = [x[begin:end, b].tolist() for x in (log_rho, reward, discount)]
            expected_target[begin:end], expected_advantage[begin:end] = vtrace_sum(
                *pieces, value[begin : end + 1, b].tolist(), rho_bar=rho_bar, c_bar=c_bar, lambda_=lambda_
            )
        assert target[:, b].tolist() == pytest.approx(expected_target, abs=1e-5)
        assert advantage[:, b].tolist() == pytest.approx(expected_advantage, abs=1e-5)


def random_case(T=13, B=7, seed=3):
    generator = torch.Generator().manual_seed(seed)
    last = torch.rand(T + 1, B, generator=generator) < 0.2
    last[1:] &= ~last[:-1]
    discount = torch.where(last[1:] & (torch.rand(T, B, generator=generator) < 0.5), 0.0, 0.97)
    return torch.randn(T, B, generator=generator), discount, torch.randn(T + 1, B, generator=generator), ~last[:-1]


def lambda_advantage(reward, discount, value, valid, *, lambda_):
    """GAE: how far the on-policy lambda-return is from the value."""
    target, _ = vtrace(torch.zeros_like(reward), reward, discount, value, valid, lambda_=lambda_)
    return target - value[:-1]


def test_on_policy_vtrace_is_the_n_step_return_and_gae_1():
    reward, discount, value, valid = random_case()
    target, advantage = vtrace(torch.zeros_like(reward), reward, discount, value, valid)
    torch.testing.assert_close(target, n_step_return(reward, discount, value, valid), atol=2e-6, rtol=1e-6)
    gae = lambda_advantage(reward, discount, value, valid, lambda_=1.0)
    torch.testing.assert_close(advantage, gae, atol=2e-6, rtol=1e-6)


def test_lambda_0_is_one_step_td():
    reward, discount, value, valid = random_case(seed=5)
    expected = torch.where(valid, reward + discount * value[1:] - value[:-1], 0.0)
    torch.testing.assert_close(lambda_advantage(reward, discount, value, valid, lambda_=0.0), expected)


@pytest.mark.parametrize(
    ("reward", "value", "gamma", "lambda_", "expected"),
    [
        ((1, 1, 1), (0, 0, 0, 0), 0.9, 0.5, (1.6525, 1.45, 1)),
        ((1, 2, 3), (0.5, 1, 1.5, 2), 0.9, 0.8, (4.80272, 4.726, 3.3)),
    ],
)
def test_gae_by_hand(reward, value, gamma, lambda_, expected):
    advantage = lambda_advantage(column(*reward), column(*[gamma] * 3), column(*value), yes(3), lambda_=lambda_)
    assert advantage.flatten().tolist() == pytest.approx(expected)


def gae(reward, discount, value, lambda_):
    """One stretch of an episode: sum_k (gamma lambda)^k delta_{t+k}, as a double sum."""
    steps, found = len(reward), []
    for t in range(steps):
        total, weight = 0.0, 1.0
        for k in range(t, steps):
            total += weight * (reward[k] + (discount[k] * value[k + 1] if discount[k] else 0.0) - value[k])
            weight *= discount[k] * lambda_
        found.append(total)
    return found


@pytest.mark.parametrize("lambda_", [0.0, 0.35, 0.95, 1.0])
def test_on_policy_target_and_advantage_are_both_gae_in_every_episode(lambda_):
    T, B = 23, 7
    reward, discount, value, valid = random_case(T, B, seed=11)
    last = ~torch.cat([valid, valid.new_ones(1, B)])
    assert (discount[last[1:-1].nonzero(as_tuple=True)] == 0).any()  # terminations
    assert (discount[last[1:-1].nonzero(as_tuple=True)] > 0).any()  # and time limits
    zeros, counts = torch.zeros(T, B), []
    poisoned = [torch.where(valid, x, NAN) for x in (zeros, reward, discount)]
    target, advantage = vtrace(*poisoned, value, valid, lambda_=lambda_)
    for b in range(B):
        expected = [0.0] * T
        stretches = episodes(last[:, b].tolist())
        for begin, end in stretches:
            pieces = [x[begin:end, b].tolist() for x in (reward, discount)]
            expected[begin:end] = gae(*pieces, value[begin : end + 1, b].tolist(), lambda_)
        assert advantage[:, b].tolist() == pytest.approx(expected, abs=2e-5)
        assert (target - value[:-1])[:, b].tolist() == pytest.approx(expected, abs=2e-5)
        counts.append(len(stretches))
    assert max(counts) >= 3


@pytest.mark.parametrize("end", ["terminates", "time limit"])
def test_gae_by_hand_on_both_sides_of_a_reset(end):
    """The two cases above in one unroll. The first ends with discount 0, or bootstraps from V = 0."""
    discount = column(0.9, 0.9, 0 if end == "terminates" else 0.9, NAN, 0.9, 0.9, 0.9)
    value = column(0, 0, 0, 0, 0.5, 1, 1.5, 2)
    valid = torch.tensor([[1], [1], [1], [0], [1], [1], [1]], dtype=torch.bool)
    reward, zeros = column(1, 1, 1, NAN, 1, 2, 3), column(0, 0, 0, NAN, 0, 0, 0)
    for lambda_, chosen, expected in ((0.5, slice(0, 3), (1.6525, 1.45, 1)), (0.8, slice(4, 7), (4.80272, 4.726, 3.3))):
        target, advantage = vtrace(zeros, reward, discount, value, valid, lambda_=lambda_)
        assert advantage[chosen].flatten().tolist() == pytest.approx(expected)
        assert (target - value[:-1])[chosen].flatten().tolist() == pytest.approx(expected)
        assert advantage[3] == 0


def test_termination_cuts_and_a_time_limit_bootstraps():
    reward, value = column(1, 1, 1), column(0, 0, 0, 10)
    terminated = n_step_return(reward, column(0.9, 0.9, 0), column(0, 0, 0, NAN), yes(3))
    assert terminated.flatten().tolist() == pytest.approx([2.71, 1.9, 1])
    truncated = n_step_return(reward, column(0.9, 0.9, 0.9), value, yes(3))
    assert truncated.flatten().tolist() == pytest.approx([10, 10, 10])


def test_an_episode_end_inside_the_unroll_bootstraps_from_its_own_last_observation():
    # Steps: one, time limit; crossing row; one of the next episode. V of the true last observation is 10.
    valid = torch.tensor([[True], [False], [True]])
    target, advantage = vtrace(column(0, NAN, 0), column(1, NAN, 5), column(0.9, NAN, 0.9), column(2, 10, 3, 4), valid)
    assert target.flatten().tolist() == pytest.approx([1 + 0.9 * 10, 10, 5 + 0.9 * 4])
    assert advantage.flatten().tolist() == pytest.approx([8, 0, 5.6])


@pytest.mark.parametrize(
    ("rho_bar", "fixed_point"), [(1e-3, 0.5), (0.5, 0.7143), (1.0, 0.8333), (1.5, 0.8824), (1.8, 0.9), (9.0, 0.9)]
)
def test_bandit_fixed_point_moves_with_rho_bar(rho_bar, fixed_point):
    """Expected one-step update at V is 0 there: r = (1, 0), mu = (.5, .5), pi = (.9, .1)."""
    log_rho = torch.tensor([[math.log(1.8), math.log(0.2)]])
    value = torch.full((2, 2), fixed_point)
    target, _ = vtrace(
        log_rho,
        torch.tensor([[1.0, 0.0]]),
        torch.zeros(1, 2),
        value,
        torch.ones(1, 2, dtype=torch.bool),
        rho_bar=rho_bar,
    )
    assert float((target - value[:1]).mean()) / min(rho_bar, 1) == pytest.approx(0, abs=1e-3)


def test_episodic_and_non_episodic_streams():
    # Four steps of reward 1, the second terminates; the third row crosses the reset.
    reward, gamma = column(1, 1, NAN, 1, 1), 0.5
    discount, valid = column(1, 0, NAN, 1, 1), torch.tensor([[1], [1], [0], [1], [1]], dtype=torch.bool)
    value, zeros = torch.zeros(6, 1), torch.zeros(5, 1)
    episodic, _ = vtrace(zeros, reward, discount * gamma, value, valid)
    assert episodic[valid].tolist() == pytest.approx([1.5, 1, 1.5, 1])
    log_rho, reward, discount, everywhere = across_resets(column(0, 0, NAN, 0, 0), reward, valid, gamma=gamma)
    running, _ = vtrace(log_rho, reward, discount, value, everywhere)
    assert running[valid].tolist() == pytest.approx([1.875, 1.75, 1.5, 1])


def test_a_non_episodic_stream_bootstraps_from_the_first_observation_of_the_next_episode():
    valid = torch.tensor([[True], [False]])
    log_rho, reward, discount, everywhere = across_resets(column(0, 0), column(1, NAN), valid, gamma=0.5)
    target, _ = vtrace(log_rho, reward, discount, column(7, 100, 6), everywhere)
    assert target[0].item() == pytest.approx(1 + 0.5 * 6)  # not 100, the value of the true last observation


def test_one_state_loop_bootstraps_through_its_time_limit():
    """r = 1, gamma = .9, limit 3: the value that TD and truncation agree on is 10; as a termination it is 2.5."""
    for discount_at_limit, expected in ((0.9, 10.0), (0.0, 2.5)):
        v = 0.0
        for _ in range(400):
            one_step = [1 + d * v for d in (0.9, 0.9, discount_at_limit)]
            target = lambda_advantage(
                column(1, 1, 1), column(0.9, 0.9, discount_at_limit), torch.full((4, 1), v), yes(3), lambda_=0.0
            )
            assert (target + v).flatten().tolist() == pytest.approx(one_step, rel=1e-5)
            v += float(target.mean())
        assert v == pytest.approx(expected, rel=1e-3)
