"""The bilinear head: its scores, and the information it finds in Gaussian pairs."""

import math

import pytest
import torch

from morello.backbones.contrastive import ContrastiveHead, info_nce, mutual_information_bound

from ...support.contrastive import D, E, gaussian_information, squares, with_one
from ...support.descent import descend
from ...support.estimates import mean_and_error


def channel(rho, n=512, d=4):
    x = torch.randn(n, d)
    return x, rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d)


def in_batch(head, x, y):
    """The bound [N], each query's positive among those of all."""
    scores = head(with_one(x), squares(y))[0]
    loss, _ = info_nce(scores, torch.arange(len(x)), torch.ones_like(scores, dtype=torch.bool))
    return mutual_information_bound(loss, torch.full((len(x),), len(x)))


def trained(rho):
    head = ContrastiveHead(5, 8, 1)
    descend(head, lambda: -in_batch(head, *channel(rho)).mean(), 300, 0.03)
    return head


@torch.no_grad()
def measured(head, rho):
    """Mean and standard error over batches, whose queries share their negatives."""
    return mean_and_error(torch.stack([in_batch(head, *channel(rho)).mean() for _ in range(30)]))


def test_trained_bilinear_critic_finds_the_information_where_the_cap_allows():
    known = gaussian_information(0.8, 4)
    assert math.log(512) > known + 2
    mean, spread = measured(trained(0.8), 0.8)
    assert 0.9 * known < mean < known + 3 * spread


def test_independent_pairs_have_no_information_for_any_critic():
    mean, spread = measured(trained(0.0), 0.0)
    assert -0.05 < mean < 3 * spread
    mean, spread = measured(ContrastiveHead(5, 8, 1), 0.0)
    assert mean < 3 * spread


def test_head_is_a_sum_over_features_with_a_matrix_for_each_horizon():
    head, c, z = ContrastiveHead(D, E, 2), torch.randn(5, D), torch.randn(11, E)
    scores = head(c, z)
    assert scores.shape == (2, 5, 11)
    torch.testing.assert_close(scores, torch.einsum("me,ked,nd->knm", z, head.weight, c))
    each = head(torch.stack([c, -2 * c]), z)
    torch.testing.assert_close(each, torch.stack([scores[0], -2 * scores[1]]))


@pytest.mark.parametrize(("context", "target"), [(7, 1009), (1009, 7), (101, 103)])
def test_scores_of_features_with_unit_variance_have_unit_variance(context, target):
    wide = ContrastiveHead(context, target, 3)(torch.randn(1013, context), torch.randn(997, target))
    assert wide.std().item() == pytest.approx(1, rel=0.05)
