"""Sequences of anything: audio, and contexts from any memory."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from morello.backbones import MEMORIES
from morello.backbones.contrastive import CPC, SequenceCPC, WaveEncoder

from ...support.contrastive import B, E, T, bounds, learn
from ...support.estimates import generator


def test_a_window_of_audio_is_a_row_every_ten_milliseconds():
    assert WaveEncoder(2)(torch.randn(3, 20480)).shape == (128, 3, 2)


def test_a_row_hears_its_own_ten_milliseconds_and_as_much_on_either_side():
    """Five layers hear 465 samples, in whose middle are the row's own 160, and none of another sequence."""
    wave = torch.randn(3, 13 * 160, requires_grad=True)
    rows = WaveEncoder(31)(wave)
    for t in (0, 1, 5, 11, 12):
        (read,) = torch.autograd.grad(rows[t, 1].sum(), wave, retain_graph=True)
        heard = range(max(0, 160 * t - 153), min(13 * 160, 160 * (t + 1) + 152))
        assert [tuple(at) for at in read.nonzero().tolist()] == [(1, s) for s in heard]


@pytest.mark.slow
@pytest.mark.parametrize("tones", [True, False])
def test_audio_is_predicted_where_there_is_something_to_hear(tones):
    """A tone lasts; noise does not."""
    encoder, source = WaveEncoder(16, (8, 4), (4, 4)), generator(0)
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
    given = []
    model.cpc.register_forward_pre_hook(lambda _, tensors: given.extend(tensors))
    model(x, first)
    used = given[1][5:, 3]  # contexts
    (read,) = torch.autograd.grad(used, x, torch.randn_like(used))  # a layer norm's plain sum is constant
    assert (read[:5] == 0).all()
    assert (read[5:, 3] != 0).any(-1).all()
    assert (read[:, torch.arange(B) != 3] == 0).all()


def test_pairs_and_candidates_are_rows_that_are_there():
    model = SequenceCPC(nn.Linear(2, E), MEMORIES["gru"](E, 8), CPC(8, E, (1, 3), negatives=None))
    x, first, valid = torch.randn(T, B, 2), torch.rand(T, B) < 0.15, torch.rand(T, B) < 0.8
    contrast = model(x, first, valid)
    mask, candidates = contrast.mask.unflatten(1, (T, B)), contrast.candidates.unflatten(1, (T, B))
    for i, k in enumerate((1, 3)):
        for t, b in product(range(T), range(B)):
            whole = t + k < T and not any(first[t + j, b] for j in range(1, k + 1))
            assert mask[i, t, b] == (whole and bool(valid[t, b]) and bool(valid[t + k, b]))
    assert mask.any()
    assert (candidates[mask] == valid.sum()).all()
