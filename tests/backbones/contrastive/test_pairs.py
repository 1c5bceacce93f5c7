"""Which rows make pairs, and which are drawn: within episodes, from those there, from the sequences asked for."""

import pytest
import torch

from morello.backbones.contrastive import CPC, pair_mask

from ...support.contrastive import SOURCES, B, D, E, T, batch
from ...support.estimates import generator


def test_pairs_do_not_cross_a_reset():
    first = torch.zeros(7, 1, dtype=torch.bool)
    first[[0, 3]] = True
    pairs = pair_mask(first, torch.tensor([1, 2, 3, 4]), torch.ones_like(first))[..., 0]
    assert [row.nonzero().flatten().tolist() for row in pairs] == [[0, 1, 3, 4, 5], [0, 3, 4], [3], []]


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
    contrast = cpc(z, c, first, valid, generator=generator(0))
    assert contrast.value.shape == (2, 7)
    assert torch.equal(cpc(z, c, first, valid, generator=generator(0)).value, contrast.value)
    seen, foreign = set(), 0
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
        own, others = (sum((a == b) == mine for _, a in negatives) for mine in (True, False))
        foreign += others
        drawn = {"batch": 0, "others": 0, "sequence": 6, "both": 3}[source]  # of the own sequence, perhaps the positive
        if source != "batch":
            assert min(drawn, int(valid[:, b].sum())) - 1 <= own <= drawn
        assert others <= 6 - drawn
    assert {n for n, _, _ in seen} == set(range(7))
    assert len({(t, b) for _, t, b in seen}) == len(seen) == 7
    assert (foreign > 0) == (source != "sequence")


def test_negatives_and_queries_are_drawn_uniformly_from_those_there():
    z, c, first, valid = batch(T=5, B=3)
    pairs = pair_mask(first, torch.tensor([1]), valid)[0]
    cpc, times = CPC(D, E, (1,), queries=2, negatives=4), 600
    queries, negatives, source = torch.zeros(5, 3), torch.zeros(5, 3), generator(0)
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
    with pytest.raises(ValueError, match="horizons are whole numbers of steps ahead, 1 or more"):
        CPC(D, E, (0, 1))
    with pytest.raises(ValueError, match="source is 'speaker', not one of batch, others, sequence, both"):
        CPC(D, E, (1,), source="speaker")


def test_a_query_without_a_negative_is_masked():
    z, c, _, _ = batch(B=1)
    first = torch.zeros(T, 1, dtype=torch.bool)
    for source in SOURCES:
        contrast = CPC(D, E, (2,), source=source, queries=None, negatives=None)(z, c, first)
        assert contrast.mask.sum() == (0 if source == "others" else T - 2)
