"""Contrastive predictive coding: rounding tells nothing apart, and what is not there is not read."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from morello.backbones import MEMORIES
from morello.backbones.contrastive import CPC, ContrastiveHead, SequenceCPC, curve

T, B, E, D = 23, 17, 31, 13
ALL = {"queries": None, "negatives": None}


def rows(*features):
    return torch.randn(T, B, *features)


def begun():
    return torch.rand(T, B) < 0.1


def half():
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("precision", [nullcontext, half])
def test_a_constant_encoder_tells_nothing_apart_at_any_scale(scale, precision):
    z = scale * torch.randn(E).expand(T, B, E)
    with precision():
        contrast = CPC(D, E, (1, 2, 5), **ALL)(z, scale * rows(D), begun())
    cap = contrast.candidates.float().log()
    assert contrast.value.dtype == torch.float32
    assert not contrast.correct.any()
    torch.testing.assert_close(contrast.value[contrast.mask], cap[contrast.mask], atol=1e-4, rtol=0)
    assert curve(contrast).chance.max() < 0.004


def test_what_all_targets_have_in_common_changes_neither_losses_nor_gradients():
    cpc, z, c, first = CPC(D, E, (1, 3), **ALL), rows(E), rows(D), begun()
    valid = torch.rand(T, B) < 0.8
    found = []
    for offset in (0.0, 1000.0):
        moved = (z + offset).requires_grad_()
        contrast = cpc(moved, c, first, valid)
        contrast.value[contrast.mask].mean().backward()
        found.append((contrast.value.detach(), moved.grad))
    for plain, moved in zip(*found, strict=True):
        torch.testing.assert_close(moved, plain, atol=2e-3 * plain.abs().max().item(), rtol=1e-2)

    prediction = torch.einsum("ked,tbd->ktbe", cpc.head.weight, c).double()  # the softmax as it is written
    scores = torch.einsum("ktbe,sae->ktbsa", prediction, z.double()).masked_fill(~valid, -math.inf)
    value = contrast.value.unflatten(1, (T, B))
    for i, t, b in contrast.mask.unflatten(1, (T, B)).nonzero()[::37].tolist():
        expected = scores[i, t, b].flatten().logsumexp(0) - scores[i, t, b, t + (1, 3)[i], b]
        assert found[0][0].unflatten(1, (T, B))[i, t, b].item() == pytest.approx(expected.item(), abs=1e-4)
        assert value[i, t, b].item() == pytest.approx(expected.item(), abs=1e-2)


def test_scores_are_in_float32_under_autocast():
    head, c, z = ContrastiveHead(D, E, 2), rows(D)[0], rows(E)[0]
    with half():
        prediction, scores = head.predict(c), head(c, z)
    assert (prediction.dtype, scores.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(scores, torch.einsum("kne,me->knm", prediction.float(), z))


@pytest.mark.parametrize("name", ["gru", "conv", "transformer"])
def test_rows_that_are_not_there_reach_no_context(name):
    model = SequenceCPC(nn.Linear(3, E), MEMORIES[name](E, 8), CPC(8, E, (1, 2), **ALL))
    x, valid = rows(3), torch.ones(T, B, dtype=torch.bool)
    valid[4:9, 2] = False
    values = []
    for filler in (0.0, 50.0):
        x[4:9, 2] = filler
        values.append(model(x, valid=valid).value)
    assert torch.equal(*values)


@pytest.mark.parametrize(
    "options",
    [
        {"horizons": (1.5,)},
        {"horizons": ()},
        {"queries": 0},
        {"negatives": 0},
        {"negatives": -3},
    ],
)
def test_what_cannot_be_asked_for_is_refused(options):
    with pytest.raises(ValueError, match="1 or more"):
        CPC(**{"context": D, "target": E, "horizons": (1,), **options})


def test_targets_and_contexts_are_of_the_same_rows():
    cpc, z, c, first = CPC(D, E, (1,), **ALL), rows(E), rows(D), begun()
    for wrong in ((z[1:], c, first), (z.transpose(0, 1), c, first), (z, c[:-1], first), (z, c, first, first[:, :1])):
        with pytest.raises(ValueError, match=rf"is \[{T}, {B}.*\], not"):
            cpc(*wrong)
    acting = CPC(D, E, (1,), actions=3, **ALL)
    with pytest.raises(ValueError, match=rf"action is \[{T - 1}, {B}\]"):
        acting(z, c, first, action=torch.zeros(T, B, dtype=torch.int64))
