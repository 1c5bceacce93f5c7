"""Horizons that draw rows of their own, and horizons that do not fit."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from morello.backbones.contrastive import CPC, pair_mask, usable_horizons

from ...support.contrastive import SOURCES, B, D, E, T, batch
from ...support.estimates import generator


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
    with pytest.raises(ValueError, match="actions are unrolled once per row"):
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
    assert [usable_horizons(h, 7) for h in ((1, 2, 6), (1, 6, 7, 9), (9, 2, 8), (7,))] == [3, 2, 2, 1]
    z, c, first, valid = batch()
    long, short = (CPC(D, E, horizons, queries=None, negatives=None) for horizons in ((1, 4, T, 99), (1, 4)))
    short.head.weight.data = long.head.weight.data[:2]
    for x, y in zip(long(z, c, first, valid), short(z, c, first, valid), strict=True):
        assert torch.equal(x[:2], y)
        assert not x[2:].any()


@pytest.mark.parametrize("source", SOURCES)
def test_shapes_do_not_depend_on_data(source):
    for queries, negatives in ((7, 6), (None, None)):
        with FakeTensorMode():
            z, c, first, valid = batch()
            apart = CPC(D, E, (1, 3, T), source=source, queries=queries, negatives=negatives, apart=True)
            rows = apart(z, c, first, valid, generator=torch.Generator()).value
        assert rows.shape == (3, 4 if queries else T * B)
