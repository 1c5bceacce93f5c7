"""Losses and the reducer."""

import math

import pytest
import torch

from morello.agents.losses import (
    clipped_squared_error,
    clipped_surrogate,
    kl_divergence,
    negative_entropy,
    policy_gradient,
    squared_error,
)
from morello.auxiliaries.reduction import explained_variance, reduce
from morello.backbones.numerics import log_prob

from ..support.oracles import softmax


def test_policy_gradient_by_hand():
    logits = torch.zeros(1, 1, 2, requires_grad=True)
    policy_gradient(logits, torch.tensor([[0]]), torch.tensor([[2.0]])).sum().backward()
    assert logits.grad.flatten().tolist() == pytest.approx([-1, 1])


def test_log_prob_and_entropy_against_softmax():
    logits = 1 + torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    action = torch.arange(15).view(3, 5) % 7
    for t in range(3):
        for b in range(5):
            p = softmax(logits[t, b].tolist())
            assert float(log_prob(logits, action)[t, b]) == pytest.approx(math.log(p[action[t, b]]), abs=1e-5)
            assert float(negative_entropy(logits)[t, b]) == pytest.approx(sum(x * math.log(x) for x in p), abs=1e-5)


def test_uniform_entropy_is_log_4_and_flat():
    logits = torch.zeros(1, 1, 4, requires_grad=True)
    value = negative_entropy(logits)
    value.sum().backward()
    assert value.item() == pytest.approx(-1.38629, abs=1e-5)
    assert logits.grad.abs().max() < 1e-7


def test_minimising_the_entropy_term_raises_entropy():
    logits = torch.tensor([[[2.0, 0.0, -1.0]]], requires_grad=True)
    before = float(negative_entropy(logits).detach())
    negative_entropy(logits).sum().backward()
    assert float(negative_entropy(logits.detach() - 0.1 * logits.grad)) < before


def test_targets_and_advantages_are_constants():
    value, target = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[4.0]], requires_grad=True)
    squared_error(value, target).sum().backward()
    assert value.grad.item() == -3
    assert target.grad is None
    advantage = torch.tensor([[1.0]], requires_grad=True)
    logits = torch.zeros(1, 1, 2, requires_grad=True)
    policy_gradient(logits, torch.tensor([[1]]), advantage).sum().backward()
    assert advantage.grad is None


def test_reduce_is_a_mean_over_the_mask_and_nan_outside_reaches_nothing():
    value = torch.tensor([[1.0, math.nan], [math.inf, 4.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [False, True]])
    result = reduce(value, mask)
    result.backward()
    assert result.item() == 2.5
    assert value.grad.tolist() == [[0.5, 0], [0, 0.5]]


def test_reduce_of_nothing_is_zero():
    assert reduce(torch.full((2, 3), math.nan), torch.zeros(2, 3, dtype=torch.bool)).item() == 0


def test_explained_variance():
    target = torch.randn(11, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(11, 3, dtype=torch.bool)
    assert explained_variance(target, target, mask).item() == pytest.approx(1)
    assert explained_variance(torch.full_like(target, 5.0), target, mask).item() == pytest.approx(0, abs=1e-6)
    assert explained_variance(-target, target, mask).item() == pytest.approx(-3, abs=1e-5)
    constant = torch.full_like(target, 0.1)
    assert explained_variance(target, constant, mask).item() == 0


def pulled(ratio, advantage, clip=0.2):
    """Value and gradient, to the log of the ratio, of the clipped surrogate."""
    log_ratio = torch.tensor([[ratio]]).log().requires_grad_()
    value = clipped_surrogate(log_ratio, torch.tensor([[advantage]]), clip)
    value.sum().backward()
    return value.item(), log_ratio.grad.item()


def test_at_ratio_1_the_clipped_surrogates_gradient_is_the_policy_gradients():
    generator = torch.Generator().manual_seed(7)
    old, advantage = torch.randn(5, 3, 7, generator=generator), torch.randn(5, 3, generator=generator)
    action = torch.randint(7, (5, 3), generator=generator)
    one, other = old.clone().requires_grad_(), old.clone().requires_grad_()
    policy_gradient(one, action, advantage).sum().backward()
    clipped_surrogate(log_prob(other, action) - log_prob(old, action), advantage, 0.2).sum().backward()
    torch.testing.assert_close(other.grad, one.grad, atol=1e-6, rtol=1e-5)
    assert one.grad.abs().max() > 0.1


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),
    [
        (1.3, 2.0, -1.2 * 2, 0),  # good and likelier than the clip: no further
        (0.7, -2.0, 0.8 * 2, 0),  # bad and less likely than the clip: no further
        (0.7, 2.0, -0.7 * 2, -0.7 * 2),  # good, and has become unlikely: back
        (1.3, -2.0, 1.3 * 2, 1.3 * 2),  # bad, and has become likely: back
        (1.1, 2.0, -1.1 * 2, -1.1 * 2),
        (0.9, -2.0, 0.9 * 2, 0.9 * 2),
        (1.3, 0.0, 0, 0),
    ],
)
def test_the_clipped_surrogate_by_hand(ratio, advantage, value, gradient):
    assert pulled(ratio, advantage) == pytest.approx((value, gradient), abs=1e-6)


def test_the_clip_is_where_it_is_said_to_be():
    assert pulled(1.3, 1.0, clip=0.31)[1] == pytest.approx(-1.3)
    assert pulled(1.3, 1.0, clip=0.29)[1] == 0
    assert pulled(0.6, -1.0, clip=0.41)[1] == pytest.approx(0.6)
    assert pulled(0.6, -1.0, clip=0.39)[1] == 0


def test_the_surrogates_advantage_is_a_constant():
    advantage = torch.ones(1, 1, requires_grad=True)
    clipped_surrogate(torch.zeros(1, 1, requires_grad=True), advantage, 0.2).sum().backward()
    assert advantage.grad is None


def test_kl_divergence_is_the_papers_sum_and_torchs():
    generator = torch.Generator().manual_seed(3)
    old, new = (2 * torch.randn(5, 3, 7, generator=generator) + shift for shift in (1, -4))
    found = kl_divergence(old, new)
    for t in range(5):
        for b in range(3):
            p, q = softmax(old[t, b].tolist()), softmax(new[t, b].tolist())
            assert found[t, b].item() == pytest.approx(
                sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)), 1e-4
            )
    kinds = [torch.distributions.Categorical(logits=logits) for logits in (old, new)]
    torch.testing.assert_close(found, torch.distributions.kl_divergence(*kinds), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, kl_divergence(new, old), atol=0.01)
    assert kl_divergence(old, old + 5).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("value", "old", "target", "expected", "gradient"),
    [
        (1.1, 1.0, 3.0, 1.9**2 / 2, -1.9),  # within the clip: the squared error
        (1.7, 1.0, 3.0, 1.8**2 / 2, 0),  # moved to its target by more than the clip: no further
        (0.2, 1.0, 3.0, 2.8**2 / 2, -2.8),  # moved away from it by more than the clip: back
        (1.7, 1.0, -1.0, 2.7**2 / 2, 2.7),
        (0.2, 1.0, -1.0, 1.8**2 / 2, 0),
        (3.5, 1.0, 3.0, 1.8**2 / 2, 0),  # beyond its target, from where the clipped value is further
        (5.5, 1.0, 3.0, 2.5**2 / 2, 2.5),
    ],
)
def test_the_clipped_squared_error_by_hand(value, old, target, expected, gradient):
    given = [torch.tensor([[x]], requires_grad=True) for x in (value, old, target)]
    found = clipped_squared_error(*given, 0.2)
    found.sum().backward()
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert given[0].grad.item() == pytest.approx(gradient, abs=1e-5)
    assert given[1].grad is None
    assert given[2].grad is None


def test_the_entropys_gradient_is_the_formulas():
    """d/dz_a sum_i p_i ln p_i = p_a (ln p_a - sum_i p_i ln p_i)."""
    logits = torch.tensor([[[2.0, 0.5, -1.0, 0.0, 3.0]]], requires_grad=True)
    negative_entropy(logits).sum().backward()
    p = softmax(logits.flatten().tolist())
    mean = sum(x * math.log(x) for x in p)
    assert logits.grad.flatten().tolist() == pytest.approx([x * (math.log(x) - mean) for x in p], abs=1e-6)


def test_reduce_by_a_count_of_its_own():
    value, mask = torch.tensor([[1.0, math.nan, 5.0]]), torch.tensor([[True, False, True]])
    assert reduce(value, mask, torch.tensor(4.0)).item() == 1.5
    assert reduce(value, mask, torch.tensor(0.5)).item() == 12
