"""Contrastive predictive coding: losses against pairs built one by one, and their curve over horizons."""

import math

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from morello.backbones.contrastive import CPC, curve, info_nce, pair_mask

from ...support.contrastive import (
    SOURCES,
    B,
    D,
    E,
    T,
    batch,
    bounds,
    gaussian_information,
    learn,
    squares,
    with_one,
)
from ...support.estimates import generator


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
                    (z[s, a] @ prediction).item()
                    for s in range(T)
                    for a in range(B)
                    if valid[s, a]
                    and (s, a) != (t + k, b)
                    and (a == b or cpc.source != "sequence")
                    and (a != b or cpc.source != "others")
                ]
                if others:
                    loss = math.log(sum(math.exp(s - own) for s in [own, *others]))
                    found[i, t, b] = loss, own > max(others), 1 + len(others)
    return found


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


def test_permuting_sequences_moves_losses_and_changes_none():
    z, c, first, valid = batch()
    order = torch.randperm(B)
    for source in SOURCES:
        cpc = CPC(D, E, (1, 2), source=source, queries=None, negatives=None)
        value = cpc(z, c, first, valid).value.unflatten(1, (T, B))
        moved = cpc(z[:, order], c[:, order], first[:, order], valid[:, order]).value.unflatten(1, (T, B))
        torch.testing.assert_close(moved, value[..., order], atol=1e-5, rtol=1e-5)


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
    assert shown.chance.tolist() == pytest.approx([1 / n, 1 / n, math.nan], nan_ok=True)
    assert shown.cap.tolist() == pytest.approx([math.log(n), math.log(n), math.nan], nan_ok=True)
    for k in range(2):
        assert shown.loss[k].item() == pytest.approx(contrast.value[k][contrast.mask[k]].mean().item(), abs=1e-5)
        assert shown.accuracy[k].item() == pytest.approx(contrast.correct[k][contrast.mask[k]].float().mean().item())
    torch.testing.assert_close(shown.bound, shown.cap - shown.loss, equal_nan=True)


def test_curve_averages_over_pairs_whose_candidates_are_not_as_many():
    z, c, _, valid = batch(T=13)
    first = torch.zeros_like(valid)
    valid[3:, 1], valid[:3, 1], valid[:, 2] = False, True, True
    contrast = CPC(D, E, (1, 2), source="sequence", queries=None, negatives=None)(z, c, first, valid)
    shown, sizes = curve(contrast), valid.sum(0).tolist()
    assert len(set(sizes)) > 2
    for i, k in enumerate((1, 2)):
        each = [sizes[b] for t in range(13 - k) for b in range(B) if valid[t, b] and valid[t + k, b]]
        assert shown.pairs[i] == len(each)
        assert shown.chance[i].item() == pytest.approx(sum(1 / n for n in each) / len(each), abs=1e-6)
        assert shown.cap[i].item() == pytest.approx(sum(math.log(n) for n in each) / len(each), abs=1e-5)
        assert shown.bound[i].item() == pytest.approx(shown.cap[i].item() - shown.loss[i].item(), abs=1e-5)


@pytest.mark.slow
def test_curve_over_horizons_follows_the_information_of_an_autoregressive_process():
    """x[t + 1] = rho x[t] + noise: I(x[t]; x[t + k]) = -(d / 2) ln(1 - rho^(2 k))."""
    rho, d, horizons = 0.95, 4, (1, 2, 4, 8, 12, 16, 30)
    known = torch.tensor([gaussian_information(rho**k, d) for k in horizons])
    assert known.tolist() == pytest.approx([4.656, 3.369, 2.178, 1.160, 0.691, 0.431, 0.094], abs=6e-4)
    t = torch.arange(37)
    root = torch.linalg.cholesky(rho ** (t - t.unsqueeze(-1)).abs().double()).float()
    first, source = t.unsqueeze(-1).expand(-1, 499) == 0, generator(0)
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
        assert contrast.value.shape == (2, queries or T * B)


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
