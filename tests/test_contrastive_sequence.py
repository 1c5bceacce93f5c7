"""Sequences of anything: audio, and contexts from any memory."""

import math

import pytest
import torch
from torch import nn

from morello.backbones import MEMORIES
from morello.backbones.contrastive import CPC, SequenceCPC, WaveEncoder

from .contrastive import B, E, T, bounds, learn
from .estimates import generator


def test_a_window_of_audio_is_a_row_every_ten_milliseconds():
    assert WaveEncoder(2)(torch.randn(3, 20480)).shape == (128, 3, 2)


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
    context, _ = model.memory(model.encoder(x), model.memory.initial_state(B), first)
    (read,) = torch.autograd.grad(context[5:, 3].sum(), x)
    assert (read[:5] == 0).all()
