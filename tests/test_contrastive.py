"""Contrastive predictive coding: exact bounds of known channels, pairs within episodes, what is learnt and what not."""

import math

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from morello.backbones import MEMORIES
from morello.backbones.contrastive import (
    CPC,
    ContrastiveHead,
    GridContext,
    GridCPC,
    SequenceCPC,
    WaveEncoder,
    curve,
    fitting,
    info_nce,
    mutual_information_bound,
    pair_mask,
)  # fmt: skip

T, B, E, D = 11, 5, 7, 3
SOURCES = ["batch", "others", "sequence", "both"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_bound(symbols, error, candidates):
    """ln N - L of the optimal critic on the symmetric channel: L = E[-ln r / (r + J a + (N - 1 - J) b)], where J of the
    N - 1 negatives equal the query, J ~ Binomial(N - 1, 1 / symbols), and r = a if the channel made no error, else b.
    """
    a = symbols * (1 - error)
    b = symbols * error / (symbols - 1)
    others, p, loss = candidates - 1, 1 / symbols, 0.0
    for j in range(others + 1):
        log_weight = math.lgamma(others + 1) - math.lgamma(j + 1) - math.lgamma(others - j + 1)
        weight = math.exp(log_weight + j * math.log(p) + (others - j) * math.log(1 - p))
        rest = j * a + (others - j) * b
        for r, probability in ((a, 1 - error), (b, error)):
            if probability:
                loss -= weight * probability * math.log(r / (r + rest))
    return math.log(candidates) - loss


def information(symbols, error):
    noise = error * math.log(symbols * error / (symbols - 1)) if error else 0.0
    return (1 - error) * math.log(symbols * (1 - error)) + noise


def gaussian_information(rho, d=1):
    return -d / 2 * math.log(1 - rho**2)


def mean_and_error(x):
    return x.mean().item(), x.std().item() / math.sqrt(len(x))


def bound_of(scores):
    """Of queries whose first candidate is the positive."""
    positive, mask = torch.zeros(len(scores), dtype=torch.int64), torch.ones_like(scores, dtype=torch.bool)
    loss, _ = info_nce(scores, positive, mask)
    return mutual_information_bound(loss, mask.sum(-1))


DISCRETE = [
    (4, 0.1, 2, 0.3773), (4, 0.1, 16, 0.8782), (4, 0.1, 256, 0.9469), (16, 0.1, 16, 1.7852), (16, 0.1, 256, 2.1531),
    (256, 0.0, 16, 2.7324), (256, 0.0, 256, 4.9733), (256, 0.0, 4096, 5.5137), (4, 0.3, 2, 0.18983),
    (4, 0.3, 64, 0.43739),
]  # fmt: skip


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
    (1, 0.5, 64, 0.145), (4, 0.8, 8, 1.346), (4, 0.8, 64, 1.874), (4, 0.8, 512, 2.039),
    (10, 0.9, 8, 2.073), (10, 0.9, 64, 4.098), (10, 0.9, 512, 5.916),
]  # fmt: skip


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


def squares(z):
    """Features in which the log density ratio of Gaussians is bilinear."""
    return torch.cat([z, z**2], dim=-1)


def with_one(c):
    return F.pad(c, (0, 1), value=1.0)


def channel(rho, n=512, d=4):
    x = torch.randn(n, d)
    return x, rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d)


def in_batch(head, x, y):
    """The bound [N], each query's positive among those of all."""
    scores = head(with_one(x), squares(y))[0]
    loss, _ = info_nce(scores, torch.arange(len(x)), torch.ones_like(scores, dtype=torch.bool))
    return mutual_information_bound(loss, torch.full((len(x),), len(x)))


def trained(rho, steps=300):
    head = ContrastiveHead(5, 8, 1)
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / steps)
        optimizer.zero_grad()
        (-in_batch(head, *channel(rho)).mean()).backward()
        optimizer.step()
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
    half, _ = info_nce(scores.bfloat16(), positive, mask)
    assert half.dtype == torch.float32
    order = torch.randperm(7)
    moved, _ = info_nce(scores[..., order], order.argsort()[positive], mask[..., order])
    torch.testing.assert_close(moved, loss.detach(), atol=1e-5, rtol=1e-5)


def test_head_is_a_sum_over_features_with_a_matrix_for_each_horizon():
    head, c, z = ContrastiveHead(D, E, 2), torch.randn(5, D), torch.randn(11, E)
    scores = head(c, z)
    assert scores.shape == (2, 5, 11)
    torch.testing.assert_close(scores, torch.einsum("me,ked,nd->knm", z, head.weight, c))
    each = head(torch.stack([c, -2 * c]), z)
    torch.testing.assert_close(each, torch.stack([scores[0], -2 * scores[1]]))
    wide = ContrastiveHead(101, 103, 1)(torch.randn(211, 101), torch.randn(223, 103))
    assert wide.std().item() == pytest.approx(1, rel=0.2)


def test_pairs_do_not_cross_a_reset():
    first = torch.zeros(7, 1, dtype=torch.bool)
    first[[0, 3]] = True
    pairs = pair_mask(first, torch.tensor([1, 2, 3, 4]), torch.ones_like(first))[..., 0]
    assert [row.nonzero().flatten().tolist() for row in pairs] == [[0, 1, 3, 4, 5], [0, 3, 4], [3], []]


def naive(cpc, z, c, first, valid):
    """value, correct, candidates by (k, t, b), pair by pair."""
    T, B = first.shape
    found = {}
    for i, k in enumerate(cpc.steps.tolist()):
        for t in range(T - k):
            for b in range(B):
                if any(first[t + j, b] for j in range(1, k + 1)) or not (valid[t, b] and valid[t + k, b]):
                    continue
                prediction = cpc.head.weight[i] @ c[t, b]
                own = (z[t + k, b] @ prediction).item()
                others = [
                    (z[s, a] @ prediction).item() for s in range(T) for a in range(B)
                    if valid[s, a] and (s, a) != (t + k, b) and (a == b or cpc.source != "sequence")
                    and (a != b or cpc.source != "others")
                ]  # fmt: skip
                if others:
                    loss = math.log(sum(math.exp(s - own) for s in [own, *others]))
                    found[i, t, b] = loss, own > max(others), 1 + len(others)
    return found


def batch(T=T, B=B, resets=0.15, gaps=0.15):
    first, valid = torch.rand(T, B) < resets, torch.rand(T, B) >= gaps
    return torch.randn(T, B, E), torch.randn(T, B, D), first, valid


@pytest.mark.parametrize("source", SOURCES)
def test_losses_are_those_of_pairs_built_one_by_one_and_nothing_else_is_read(source):
    z, c, first, valid = batch()
    valid[:, 1] = False
    valid[[2, 3], 1] = True  # few rows: the longest horizon finds none
    cpc = CPC(D, E, (1, 2, 5), source=source, queries=None, negatives=None)
    expected = naive(cpc, z, c, first, valid)
    z[~valid], c[~valid] = torch.nan, torch.nan
    z.requires_grad_()
    contrast = cpc(z, c, first, valid)
    assert contrast.value.shape == contrast.mask.shape == (3, T * B)
    value, mask, correct, candidates = (x.unflatten(1, (T, B)) for x in contrast)
    assert {tuple(at) for at in mask.nonzero().tolist()} == expected.keys()
    for at, (loss, right, count) in expected.items():
        assert value[at].item() == pytest.approx(loss, abs=1e-4)
        assert (correct[at].item(), candidates[at].item()) == (right, count)
    value[mask].sum().backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad[~valid] == 0).all()
    assert all(torch.isfinite(p.grad).all() for p in cpc.parameters())


def test_rows_after_a_reset_are_never_a_positive():
    """They are told from one's own future at most: other sequences' candidates leave the own episode's rows alone."""
    z, c, _, _ = batch()
    first = torch.zeros(T, B, dtype=torch.bool)
    first[6, 2] = True
    for rows in (z, c):
        rows[6:, 2] = torch.nan
    valid = ~z[..., 0].isnan()
    cpc = CPC(D, E, range(1, T), source="others", queries=None, negatives=None)
    contrast = cpc(z, c, first, valid)
    whole = contrast.mask.unflatten(1, (T, B))[..., 2]
    assert whole.sum(-1).tolist() == [5, 4, 3, 2, 1, 0, 0, 0, 0, 0]
    for rows in (z, c):
        rows[6:, 2] = 1e3 * torch.randn_like(rows[6:, 2])
    again = cpc(z, c, first)
    mine = contrast.mask & (torch.arange(T * B) % B == 2) & (torch.arange(T * B) // B < 6)
    assert mine.sum() == 15
    torch.testing.assert_close(again.value[mine], contrast.value[mine], atol=1e-4, rtol=1e-4)
    assert not (again.mask & (torch.arange(T * B) % B == 2) & (torch.arange(T * B) // B < 6) & ~mine).any()


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_drawn_is_allowed_and_no_more_than_asked_for(source):
    """Read from gradients: which context each loss depends on, and which targets."""
    z, c, first, valid = batch()
    z.requires_grad_()
    c.requires_grad_()
    cpc = CPC(D, E, (1, 3), source=source, queries=7, negatives=6)
    contrast = cpc(z, c, first, valid, generator=generator())
    assert contrast.value.shape == (2, 7)
    assert torch.equal(cpc(z, c, first, valid, generator=generator()).value, contrast.value)
    seen = set()
    for k, n in contrast.mask.nonzero().tolist():
        dz, dc = torch.autograd.grad(contrast.value[k, n], (z, c), retain_graph=True)
        ((t, b),) = dc.abs().sum(-1).nonzero().tolist()
        seen.add((n, t, b))
        used = {tuple(at) for at in dz.abs().sum(-1).nonzero().tolist()}
        step = (1, 3)[k]
        assert (t + step, b) in used
        assert not first[t + 1 : t + step + 1, b].any()
        assert all(valid[at] for at in used)
        assert len(used) == contrast.candidates[k, n] <= 7
        negatives = used - {(t + step, b)}
        if source == "sequence":
            assert {a for _, a in negatives} == {b}
        if source == "others":
            assert b not in {a for _, a in negatives}
        if source == "both":
            assert sum(a == b for _, a in negatives) <= 3
    assert len({n for n, _, _ in seen}) == len({(t, b) for _, t, b in seen}) == len(seen)


@pytest.mark.parametrize("source", SOURCES)
def test_horizons_apart_draw_rows_of_their_own_that_have_a_pair_there(source):
    z, c, _, valid = batch(gaps=0)
    first = torch.zeros(T, B, dtype=torch.bool)
    first[3, 1] = True
    c.requires_grad_()
    cpc = CPC(D, E, (2, 9, 14), source=source, queries=9, negatives=6, apart=True)
    asked, drawn = torch.zeros(2, T, B), generator()
    for _ in range(200):
        contrast = cpc(z, c, first, generator=drawn)
        assert contrast.value.shape == (3, 5)  # 9 among the two horizons that fit
        assert contrast.mask.sum(-1).tolist() == [5, 5, 0]
        for k in range(2):
            asked[k] += torch.autograd.grad(contrast.value[k].sum(), c, retain_graph=True)[0].abs().sum(-1) > 0
    pairs = pair_mask(first, torch.tensor([2, 9]), valid)
    expected = 200 * 5 / pairs.sum((1, 2))
    assert pairs.sum((1, 2)).tolist() == [43, 8]
    assert (asked[~pairs] == 0).all()
    for k in range(2):
        assert (asked[k][pairs[k]] - expected[k]).abs().max() < 4 * expected[k].sqrt()
    every, shared = (CPC(D, E, (2, 9), queries=None, negatives=None, apart=apart) for apart in (True, False))
    every.load_state_dict(shared.state_dict())
    torch.testing.assert_close(every(z, c, first), shared(z, c, first))
    with pytest.raises(ValueError, match="actions are unrolled once a row"):
        CPC(D, E, (1,), actions=3, apart=True)


@pytest.mark.parametrize("apart", [True, False])
def test_contexts_without_a_pair_are_not_read(apart):
    z, c, first, valid = batch()
    idle = ~pair_mask(first, torch.tensor([2, 3]), valid).any(0)
    c[idle] = torch.nan
    z.requires_grad_()
    cpc = CPC(D, E, (2, 3), queries=None, negatives=None, apart=apart)
    contrast = cpc(z, c, first, valid)
    contrast.value[contrast.mask].sum().backward()
    assert torch.isfinite(contrast.value[contrast.mask]).all()
    assert torch.isfinite(z.grad).all()
    assert torch.isfinite(cpc.head.weight.grad).all()


def test_horizons_that_do_not_fit_change_nothing():
    assert [fitting(h, 7) for h in ((1, 2, 6), (1, 6, 7, 9), (9, 2, 8), (7,))] == [3, 2, 2, 1]
    z, c, first, valid = batch()
    long, short = (CPC(D, E, horizons, queries=None, negatives=None) for horizons in ((1, 4, T, 99), (1, 4)))
    short.head.weight.data = long.head.weight.data[:2]
    for x, y in zip(long(z, c, first, valid), short(z, c, first, valid), strict=True):
        assert torch.equal(x[:2], y)
        assert not x[2:].any()


def test_negatives_and_queries_are_drawn_uniformly_from_those_there():
    z, c, first, valid = batch(T=5, B=3)
    pairs = pair_mask(first, torch.tensor([1]), valid)[0]
    cpc, times = CPC(D, E, (1,), queries=2, negatives=4), 600
    queries, negatives, source = torch.zeros(5, 3), torch.zeros(5, 3), generator()
    for _ in range(times):
        a, b = z.clone().requires_grad_(), c.clone().requires_grad_()
        cpc(a, b, first, valid, generator=source).value[0, 0].backward()
        queries += b.grad.abs().sum(-1) > 0
        negatives += a.grad.abs().sum(-1) > 0
    assert (queries[~pairs] == 0).all()
    expected = times / pairs.sum()
    assert (queries[pairs] - expected).abs().max() < 4 * expected.sqrt()
    assert (negatives[valid] > times * 3 / valid.sum()).all()


def test_drawing_without_a_generator_is_an_error():
    z, c, first, valid = batch()
    with pytest.raises(ValueError, match="drawing 7 of 55 rows needs a generator"):
        CPC(D, E, (1,), queries=7)(z, c, first, valid)
    CPC(D, E, (1,), queries=T * B, negatives=T * B)(z, c, first, valid)  # that is all there is
    with pytest.raises(ValueError, match="horizons are steps ahead, 1 or more"):
        CPC(D, E, (0, 1))
    with pytest.raises(ValueError, match="source is 'speaker', not one of batch, others, sequence, both"):
        CPC(D, E, (1,), source="speaker")


def test_permuting_sequences_moves_losses_and_changes_none():
    z, c, first, valid = batch()
    order = torch.randperm(B)
    for source in SOURCES:
        cpc = CPC(D, E, (1, 2), source=source, queries=None, negatives=None)
        value = cpc(z, c, first, valid).value.unflatten(1, (T, B))
        moved = cpc(z[:, order], c[:, order], first[:, order], valid[:, order]).value.unflatten(1, (T, B))
        torch.testing.assert_close(moved, value[..., order], atol=1e-5, rtol=1e-5)


def test_a_query_without_a_negative_is_masked():
    z, c, _, _ = batch(B=1)
    first = torch.zeros(T, 1, dtype=torch.bool)
    for source in SOURCES:
        contrast = CPC(D, E, (2,), source=source, queries=None, negatives=None)(z, c, first)
        assert contrast.mask.sum() == (0 if source == "others" else T - 2)


def test_constant_codes_give_exactly_log_n_and_no_success():
    z, c, first, valid = batch()
    z[:] = torch.randn(E)
    contrast = CPC(D, E, (1, 2), queries=None, negatives=None)(z, c, first, valid)
    here = contrast.mask
    torch.testing.assert_close(contrast.value[here], contrast.candidates[here].float().log(), atol=1e-6, rtol=0)
    shown = curve(contrast)
    assert shown.accuracy.tolist() == [0, 0]
    scores = torch.randn(1).expand(3, 41)
    loss, correct = info_nce(scores, torch.tensor([0, 7, 40]), torch.ones(3, 41, dtype=torch.bool))
    assert loss.tolist() == [torch.tensor(41.0).log().item()] * 3
    assert not correct.any()
    torch.testing.assert_close(shown.loss, shown.cap)


def test_curve_averages_over_the_pairs_of_each_horizon():
    z, c, first, valid = batch()
    contrast = CPC(D, E, (1, 2, T), queries=None, negatives=None)(z, c, first, valid)
    shown = curve(contrast)
    n = int(valid.sum())
    assert shown.pairs.tolist() == [*pair_mask(first, torch.tensor([1, 2]), valid).sum((1, 2)).tolist(), 0]
    assert shown.chance.tolist() == pytest.approx([1 / n, 1 / n, 0])
    assert shown.cap.tolist() == pytest.approx([math.log(n), math.log(n), 0])
    for k in range(2):
        assert shown.loss[k].item() == pytest.approx(contrast.value[k][contrast.mask[k]].mean().item(), abs=1e-5)
        assert shown.accuracy[k].item() == pytest.approx(contrast.correct[k][contrast.mask[k]].float().mean().item())
    torch.testing.assert_close(shown.bound, shown.cap - shown.loss)


def learn(model, loss, steps, rate):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        value, mask, *_ = loss()
        (torch.where(mask, value, 0.0).sum() / mask.sum()).backward()
        optimizer.step()


@torch.no_grad()
def bounds(loss, batches=20):
    """Mean and standard error [K] over fresh batches."""
    each = torch.stack([curve(loss()).bound for _ in range(batches)])
    return each.mean(0), each.std(0) / math.sqrt(batches)


@pytest.mark.slow
def test_curve_over_horizons_follows_the_information_of_an_autoregressive_process():
    """x[t + 1] = rho x[t] + noise: I(x[t]; x[t + k]) = -(d / 2) ln(1 - rho^(2 k))."""
    rho, d, horizons = 0.95, 4, (1, 2, 4, 8, 12, 16, 30)
    known = torch.tensor([gaussian_information(rho**k, d) for k in horizons])
    assert known.tolist() == pytest.approx([4.656, 3.369, 2.178, 1.160, 0.691, 0.431, 0.094], abs=6e-4)
    t = torch.arange(37)
    root = torch.linalg.cholesky(rho ** (t - t.unsqueeze(-1)).abs().double()).float()
    first, source = t.unsqueeze(-1).expand(-1, 499) == 0, generator()
    encode = nn.Linear(2 * d, 2 * d)
    cpc = CPC(d + 1, 2 * d, horizons, source="others", queries=257, negatives=509)

    def loss():
        x = torch.einsum("ts,sbd->tbd", root, torch.randn(37, 499, d))  # few candidates a sequence
        return cpc(encode(squares(x)), with_one(x), first, generator=source)

    learn(nn.ModuleList([encode, cpc]), loss, 300, 0.03)
    mean, error = bounds(loss)
    assert (mean < known.clamp(max=math.log(510)) + 3 * error).all()
    assert (mean > 0.85 * known - 3 * error).all()
    assert mean.diff().max() < 0


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_actions_tell_what_they_lead_to(known):
    """The world shows the last action: with the actions all is known, without them nothing."""
    actions, horizons, source = 5, (1, 2, 4), generator()
    cpc = CPC(13, actions, horizons, source="others", queries=128, negatives=127, actions=actions if known else 0)
    first = torch.arange(T).unsqueeze(-1).expand(-1, 43) == 0
    cast = nn.Linear(actions, 13)

    def loss():
        action = torch.randint(actions, (T - 1, 43))
        z = F.one_hot(torch.cat([torch.randint(actions, (1, 43)), action]), actions).float()
        return cpc(z, cast(z), first, action=action if known else None, generator=source)

    learn(nn.ModuleList([cpc, cast]), loss, 250, 0.02)
    mean, error = bounds(loss)
    if known:
        assert (mean > 0.9 * exact_bound(actions, 0.0, 120)).all()
        assert (mean < math.log(actions) + 3 * error).all()
    else:
        assert (mean.abs() < 0.05).all()
        assert (mean < 3 * error).all()


def test_a_prediction_knows_the_actions_up_to_its_target_and_none_after():
    z, c, _, _ = batch()
    first, valid = torch.zeros(T, B, dtype=torch.bool), torch.ones(T, B, dtype=torch.bool)
    valid[-1] = False
    cpc = CPC(D, E, (1, 2, 4), queries=None, negatives=None, actions=3)
    action = torch.randint(3, (T - 1, B))
    value = cpc(z, c, first, valid, action=action).value.unflatten(1, (T, B))
    other = action.clone()
    other[5, 2] = (other[5, 2] + 1) % 3
    changed = cpc(z, c, first, valid, action=other).value.unflatten(1, (T, B)) != value
    assert {tuple(at) for at in changed.nonzero().tolist()} == {
        (i, t, 2) for i, k in enumerate((1, 2, 4)) for t in range(5 - k + 1, 6) if t + k < T - 1
    }
    with pytest.raises(ValueError, match="actions are given if, and only if"):
        cpc(z, c, first, valid)


def test_context_of_a_patch_reads_neither_what_is_below_nor_what_is_to_the_right():
    context = GridContext(E, D)
    z = torch.randn(2, 5, 7, E, requires_grad=True)
    c = context(z)
    assert c.shape == (2, 5, 7, D)
    for i, j in ((0, 0), (2, 3), (4, 6)):
        (read,) = torch.autograd.grad(c[0, i, j].sum(), z, retain_graph=True)
        at = read.abs().sum(-1).nonzero()
        assert (at[:, 0] == 0).all()
        assert all((y, x) <= (i, j) for _, y, x in at.tolist())
        assert [0, i, j] in at.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_of_patches_are_predicted_from_those_above_if_they_determine_them(shuffled):
    symbols, height, width, images = 6, 5, 3, 31
    follows = torch.randperm(symbols)
    model = GridCPC(GridContext(symbols, 16, layers=1), CPC(16, symbols, (1, 2), queries=128, negatives=127))
    source = generator()

    def loss():
        rows = [torch.randint(symbols, (images, width))]
        for _ in range(height - 1):
            rows.append(follows[rows[-1]])
        if shuffled:
            rows = [row.flatten()[torch.randperm(row.numel())].view_as(row) for row in rows]
        return model(F.one_hot(torch.stack(rows, dim=1), symbols).float(), generator=source)

    learn(model, loss, 200, 0.01)
    mean, error = bounds(loss)
    if shuffled:
        assert (mean.abs() < 0.06).all()
        assert (mean < 3 * error).all()
    else:
        assert (mean > 0.95 * exact_bound(symbols, 0.0, 128)).all()
        assert (mean < math.log(symbols) + 3 * error).all()


def test_a_window_of_audio_is_a_row_every_ten_milliseconds():
    assert WaveEncoder(2)(torch.randn(3, 20480)).shape == (128, 3, 2)


@pytest.mark.slow
@pytest.mark.parametrize("tones", [True, False])
def test_audio_is_predicted_where_there_is_something_to_hear(tones):
    """A tone lasts; noise does not."""
    encoder, source = WaveEncoder(16, (8, 4), (4, 4)), generator()
    model = SequenceCPC(encoder, MEMORIES["gru"](16, 16), CPC(16, 16, (2, 5), queries=64, negatives=63))
    time = torch.arange(16 * 13)

    def loss():
        pitch, phase = 0.1 + torch.rand(29, 1), 2 * math.pi * torch.rand(29, 1)
        wave = torch.sin(pitch * time + phase) if tones else torch.randn(29, len(time))
        return model(wave, generator=source)

    learn(model, loss, 150, 0.01)
    mean, error = bounds(loss)
    if tones:
        assert (mean > 1).all()
    else:
        assert (mean.abs() < 0.1).all()
        assert (mean < 3 * error).all()


@pytest.mark.parametrize("name", MEMORIES)
def test_any_memory_is_a_context_and_reads_no_earlier_episode(name):
    model = SequenceCPC(nn.Linear(2, E), MEMORIES[name](E, 8), CPC(8 if name != "none" else E, E, (1, 2)))
    x, first = torch.randn(T, B, 2), torch.zeros(T, B, dtype=torch.bool)
    first[0] = True
    first[5, 3] = True
    contrast = model(x, first)
    contrast.value.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in [*model.encoder.parameters(), *model.cpc.parameters()])
    assert torch.equal(model(x[:, :2]).value, model(x[:, :2], first[:, :2]).value)
    x.requires_grad_()
    context, _ = model.memory(model.encoder(x), model.memory.initial_state(B), first)
    (read,) = torch.autograd.grad(context[5:, 3].sum(), x)
    assert (read[:5] == 0).all()


@pytest.mark.parametrize("source", SOURCES)
def test_shapes_do_not_depend_on_data(source):
    """Tensors without data: anything that had to look at a value would raise, a captured graph could not hold it."""
    for queries, negatives in ((7, 6), (None, None)):
        with FakeTensorMode():
            z, c, first, valid = batch()
            cpc = CPC(D, E, (1, 3), source=source, queries=queries, negatives=negatives, actions=2)
            action = torch.ones(T - 1, B, dtype=torch.int64)
            contrast = cpc(z, c, first, valid, action=action, generator=torch.Generator())
            contrast.value.sum().backward()
            apart = CPC(D, E, (1, 3, T), source=source, queries=queries, negatives=negatives, apart=True)
            rows = apart(z, c, first, valid, generator=torch.Generator()).value
        assert contrast.value.shape == (2, queries or T * B)
        assert rows.shape == (3, 4 if queries else T * B)


@pytest.mark.gpu
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("source", SOURCES)
def test_runs_inside_a_captured_graph(source, apart):
    z, c, first, valid = (x.cuda() for x in batch())
    cpc = CPC(D, E, (1, 3), source=source, queries=7, negatives=6, apart=apart).cuda()
    drawn, graph, stream = torch.Generator("cuda").manual_seed(1), torch.cuda.CUDAGraph(), torch.cuda.Stream()
    graph.register_generator_state(drawn)
    with torch.cuda.stream(stream):
        cpc(z, c, first, valid, generator=drawn)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        captured = cpc(z, c, first, valid, generator=drawn)
    drawn.manual_seed(3)
    graph.replay()
    plain = cpc(z, c, first, valid, generator=torch.Generator("cuda").manual_seed(3))
    torch.testing.assert_close(captured.value, plain.value)
    assert torch.equal(captured.mask, plain.mask)
