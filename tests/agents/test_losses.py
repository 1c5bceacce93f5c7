"""Losses and the reducer."""

import math

import pytest
import torch

from morello.agents.losses import negative_entropy, policy_gradient, squared_error
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
