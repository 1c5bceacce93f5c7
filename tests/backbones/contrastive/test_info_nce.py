"""The loss, and the bound it proves of channels whose information is known."""

import math

import pytest
import torch

from morello.backbones.contrastive import info_nce, mutual_information_bound

from ...support.contrastive import exact_bound, gaussian_information
from ...support.estimates import mean_and_error


def information(symbols, error):
    noise = error * math.log(symbols * error / (symbols - 1)) if error else 0.0
    return (1 - error) * math.log(symbols * (1 - error)) + noise


def bound_of(scores):
    """Of queries whose first candidate is the positive."""
    positive, mask = torch.zeros(len(scores), dtype=torch.int64), torch.ones_like(scores, dtype=torch.bool)
    loss, _ = info_nce(scores, positive, mask)
    return mutual_information_bound(loss, mask.sum(-1))


DISCRETE = [
    (4, 0.1, 2, 0.3773),
    (4, 0.1, 16, 0.8782),
    (4, 0.1, 256, 0.9469),
    (16, 0.1, 16, 1.7852),
    (16, 0.1, 256, 2.1531),
    (256, 0.0, 16, 2.7324),
    (256, 0.0, 256, 4.9733),
    (256, 0.0, 4096, 5.5137),
    (4, 0.3, 2, 0.18983),
    (4, 0.3, 64, 0.43739),
]


@pytest.mark.parametrize(("symbols", "error", "candidates", "known"), DISCRETE)
def test_optimal_critic_on_a_symmetric_channel_gives_the_exact_bound(symbols, error, candidates, known):
    exact = exact_bound(symbols, error, candidates)
    assert exact == pytest.approx(known, abs=6e-5)
    assert exact < min(information(symbols, error), math.log(candidates))
    n = min(40_000, 3_000_000 // candidates)
    query = torch.randint(symbols, (n, 1))
    wrong = (query + torch.randint(1, symbols, (n, 1))) % symbols
    positive = torch.where(torch.rand(n, 1) < error, wrong, query)
    drawn = torch.cat([positive, torch.randint(symbols, (n, candidates - 1))], dim=1)
    ratio = torch.where(drawn == query, symbols * (1 - error), symbols * error / (symbols - 1))
    mean, spread = mean_and_error(bound_of(ratio.log()))
    assert abs(mean - exact) < 3 * spread + 1e-6
    assert mean < min(information(symbols, error), math.log(candidates)) + 3 * spread


GAUSSIAN = [
    (1, 0.5, 64, 0.145),
    (4, 0.8, 8, 1.346),
    (4, 0.8, 64, 1.874),
    (4, 0.8, 512, 2.039),
    (10, 0.9, 8, 2.073),
    (10, 0.9, 64, 4.098),
    (10, 0.9, 512, 5.916),
]


@pytest.mark.parametrize(("d", "rho", "candidates", "known"), GAUSSIAN)
def test_optimal_critic_on_a_gaussian_channel_stays_below_information_and_cap(d, rho, candidates, known):
    n = 4000
    x = torch.randn(n, 1, d)
    y = torch.randn(n, candidates, d)
    y[:, 0] = rho * x[:, 0] + math.sqrt(1 - rho**2) * y[:, 0]
    ratio = gaussian_information(rho) - (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))
    mean, spread = mean_and_error(bound_of(ratio.sum(-1)))
    assert abs(mean - known) < 3 * math.sqrt(2) * spread + 5e-4  # the known value is a sample's, too
    assert mean < min(gaussian_information(rho, d), math.log(candidates)) + 3 * spread


def test_info_nce_is_minus_log_softmax_among_the_candidates_in_float32():
    scores, mask = 3 * torch.randn(2, 5, 7), torch.rand(2, 5, 7) < 0.6
    positive = torch.randint(7, (2, 5))
    mask[0, 3, positive[0, 3]] = False
    mask[1, 4] = False
    broken = torch.where(mask, scores, torch.nan).requires_grad_()
    loss, correct = info_nce(broken, positive, mask)
    for k in range(2):
        for n in range(5):
            p = positive[k, n].item()
            chosen = {m: scores[k, n, m].item() for m in range(7) if mask[k, n, m]}
            if p in chosen:
                expected = -math.log(math.exp(chosen[p]) / sum(math.exp(s) for s in chosen.values()))
                assert loss[k, n].item() == pytest.approx(expected, abs=1e-5)
                assert correct[k, n].item() == (chosen[p] == max(chosen.values()))
            else:
                assert (loss[k, n].item(), correct[k, n].item()) == (0.0, False)
    loss.sum().backward()
    assert torch.isfinite(broken.grad).all()
    assert (broken.grad[~mask] == 0).all()
    assert (broken.grad[0, 3] == 0).all()
    rough = scores.bfloat16()
    half, _ = info_nce(rough, positive, mask)
    assert half.dtype == torch.float32
    assert torch.equal(half, info_nce(rough.float(), positive, mask)[0])
    order = torch.randperm(7)
    moved, _ = info_nce(scores[..., order], order.argsort()[positive], mask[..., order])
    torch.testing.assert_close(moved, loss.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("lead", "leads"), [(0.0, False), (0.9e-4, False), (1.1e-4, True), (-1.1e-4, False)])
def test_a_positive_leads_by_a_ten_thousandth_of_a_nat_or_not_at_all(lead, leads):
    scores = torch.tensor([[-2.0, lead, -torch.inf, 0.0, 7.0]])
    mask = torch.tensor([[True, True, True, True, False]])
    _, correct = info_nce(scores, torch.tensor([1]), mask)
    assert correct.tolist() == [leads]
