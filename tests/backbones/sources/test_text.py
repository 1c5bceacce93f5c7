"""Markov texts and texts with a topic: the ladder of contexts, and the tables they are drawn from."""

import pytest
import torch

from morello.backbones.sources import MarkovText, TopicText

from ...support.enumeration import least, plain_entropy
from ...support.source_laws import enumerated


@pytest.mark.parametrize("name", ["text", "text of order 1", "topics"])
def test_the_ladder_is_that_of_the_best_models_with_short_contexts(name):
    source, items, p = enumerated(name)
    names = ["unigram", "bigram", "order 2"][: len(source.bounds) - 1]
    assert list(source.bounds) == ["uniform", *names]
    for k, rung in enumerate(names):
        assert source.bounds[rung] == pytest.approx(least(p, items, lambda t, k=k: list(range(max(t - k, 0), t))))
    assert sorted(source.bounds.values(), reverse=True) == list(source.bounds.values())


def test_the_ladder_ends_at_the_entropy_of_a_chain_and_above_that_of_topics():
    text, topic = MarkovText(), TopicText()
    *rungs, last = text.bounds.values()
    assert last == text.entropy()[0]
    assert rungs == sorted(rungs, reverse=True)
    assert rungs[-1] > last + 1
    assert min(topic.bounds.values()) > topic.entropy()[0] + 10
    # Measured elsewhere with other random tables, a symbol: 2.079 > 2.044 > 1.949 > 1.281.
    assert text.bounds["uniform"] / 64 == pytest.approx(2.0794, abs=5e-5)
    assert 1.9 < text.bounds["unigram"] / 64 < 2.07
    assert 1.1 < last / 64 < 1.45


def test_a_text_is_stationary():
    """The law of two symbols in a row is the same in front and behind."""
    grams = MarkovText(5, 2, 0.3, 11, seed=2).grams
    torch.testing.assert_close(grams.sum(0), grams.sum(2), rtol=0, atol=1e-14)
    assert grams.sum().item() == pytest.approx(1, abs=1e-14)


def test_tables_have_the_concentration_they_are_said_to_have():
    """The mean entropy of laws from a Dirichlet distribution is psi(V c + 1) - psi(c + 1)."""
    rows = torch.cat([MarkovText(8, 2, 0.3, 11, seed=seed).table for seed in range(13)])
    values = torch.tensor([plain_entropy(row) for row in rows])
    mean = torch.digamma(torch.tensor(3.4)) - torch.digamma(torch.tensor(1.3))
    assert abs(values.mean() - mean) < 3 * values.std() / len(values) ** 0.5
    assert rows.unique(dim=0).shape == rows.shape
