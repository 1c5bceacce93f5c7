"""KL as printed, and the gradients of what losses make of it."""

import pytest
import torch

from morello.backbones.latent import KL_POLICIES
from morello.backbones.latent.kl import (
    Beta,
    Capacity,
    FreeBits,
    SoftFreeBits,
    gaussian_kl,
    unit_gaussian_kl,
)

B, G = 7, 3  # items, groups


def test_kl_of_gaussians_as_printed():
    c, m = torch.randn(2, B, G).double()
    log_q, log_p = 0.5 * torch.randn(2, B, G).double()
    s, t = log_q.exp(), log_p.exp()
    printed = (t / s).log() + (s**2 + (c - m) ** 2) / (2 * t**2) - 0.5
    torch.testing.assert_close(gaussian_kl(c, log_q, m, log_p), printed)
    torch.testing.assert_close(unit_gaussian_kl(c, m, log_p), t.log() + (1 + (c - m) ** 2) / (2 * t**2) - 0.5)
    near = gaussian_kl(torch.zeros(1), torch.full((1,), 1e-4), torch.zeros(1), torch.zeros(1))  # r^2 to first order
    torch.testing.assert_close(near, torch.full((1,), 1e-8), rtol=0.1, atol=0)


def gradient(policy, kl, step=0):
    kl = kl.clone().requires_grad_()
    policy(kl, step).backward()
    return kl.grad


def test_warm_up_is_linear_and_ends():
    kl, policy = torch.rand(B, G), Beta(beta=3.0, warmup_steps=11)
    for step, weight in [(0, 0.0), (1, 3 / 11), (7, 21 / 11), (11, 3.0), (1000, 3.0)]:
        torch.testing.assert_close(gradient(policy, kl, step), torch.full((B, G), weight / B))
    torch.testing.assert_close(gradient(Beta(), kl), torch.full((B, G), 1 / B))
    torch.testing.assert_close(policy(kl, 7), 21 / 11 * kl.sum() / B)


def test_free_bits_leave_cheap_groups_alone():
    kl = torch.tensor([[0.1, 2.0, 0.9], [0.3, 1.0, 0.0]])  # means 0.2, 1.5, 0.45: some items lie on either side
    assert gradient(FreeBits(0.5), kl).tolist() == [[0, 0.5, 0], [0, 0.5, 0]]
    torch.testing.assert_close(FreeBits(0.5)(kl, 0), torch.tensor(0.5 + 1.5 + 0.5))
    torch.testing.assert_close(gradient(FreeBits(0.0), kl), gradient(Beta(), kl))


def test_capacity_is_annealed_and_pulls_from_both_sides():
    policy = Capacity(gamma=5.0, nats=2.0, steps=13)
    kl = torch.full((B, G), 0.4)  # 1.2 nats; C reaches them between steps 7 and 8
    for step, sign in [(0, 1), (7, 1), (8, -1), (13, -1), (999, -1)]:
        torch.testing.assert_close(gradient(policy, kl, step), torch.full((B, G), sign * 5.0 / B))
    torch.testing.assert_close(policy(kl, 999), torch.tensor(5 * 0.8))
    torch.testing.assert_close(policy(kl, 0), torch.tensor(5 * 1.2))


def test_soft_free_bits_adapt_their_weight():
    policy = SoftFreeBits(floor=3.0)

    def after(nats):
        policy.observe(torch.full((B, G), nats / G))
        return policy.weight.item()

    assert after(2.999) == pytest.approx(0.9)
    assert after(3.001) == after(3.149) == pytest.approx(0.9)  # within [3, 3.15]
    assert after(3.151) == pytest.approx(0.99)
    assert after(3.151) == after(3.151) == 1  # at most
    for _ in range(3000):
        after(0.0)
    assert 0 < policy.weight < 1e-5
    assert after(9.0) > policy.weight.new_tensor(1e-6)  # and can come back

    before, kl = policy.weight.clone(), torch.rand(B, G)
    torch.testing.assert_close(gradient(policy, kl), (before / B).expand(B, G))
    assert policy.weight == before  # scoring changes nothing
    other = SoftFreeBits(floor=3.0)
    other.load_state_dict(policy.state_dict())
    assert other.weight == before


def test_soft_free_bits_settle_at_the_floor():
    policy = SoftFreeBits(floor=3.0)
    for _ in range(100):  # a code that is used the more, the cheaper it is
        nats = 1 / policy.weight
        policy.observe((nats / G).expand(B, G))
    assert 3 / 1.2 < nats < 3 * 1.2


@pytest.mark.parametrize("name", KL_POLICIES)
def test_policies_are_scalars_that_change_nothing(name):
    policy, kl = KL_POLICIES[name](), torch.rand(B, G)
    assert policy(kl, 3).shape == ()
    assert policy(kl, 3) == policy(kl, 3)
    policy.observe(kl)
