"""Linear probes: what is there is found, what is not is not, and test rows stay out of every fit."""

import sys

import pytest
import torch
from torch import nn

from morello.backbones.probes import STRENGTHS, baselines, probe

datasets = pytest.importorskip("sklearn.datasets")


def code(n=509):
    """A code of 7 numbers and 3 labels that are linear in it, with a margin."""
    x = torch.randn(4 * n, 7)
    scores = (x @ torch.randn(7, 3)).topk(2, dim=-1)
    return tuple(rows[(scores.values.diff(dim=-1) < -1.0).squeeze(-1)][:n] for rows in (x, scores.indices[:, 0]))


def test_labels_linear_in_a_code_are_all_told_and_shuffled_ones_by_chance():
    x, labels = code()
    # Features of very different scale and place: the classifier sees them standardised.
    x = x * torch.logspace(-4, 4, 7) + torch.linspace(-100, 100, 7) * torch.logspace(-4, 4, 7)
    found = probe(x, labels)
    assert (found.accuracy, found.train, found.test) == (1.0, 356, 153)
    assert found == probe(x, labels)
    assert found.strength in STRENGTHS
    shuffled = probe(x, labels[torch.randperm(len(labels))])
    assert shuffled.accuracy < shuffled.chance + 3 * (shuffled.chance / 153) ** 0.5


def test_chance_is_the_usual_label():
    labels = torch.arange(500) % 5 // 4
    found = probe(torch.randn(500, 3), labels)
    assert found.chance == pytest.approx(0.8)
    assert found.accuracy == pytest.approx(0.8, abs=0.02)
    assert found.strength == STRENGTHS[0]  # nothing is gained by a weaker one


def test_rows_are_split_by_label_and_seed():
    x, labels = code()
    assert probe(x, labels, test_share=0.5).test == 255
    noise = torch.randn(509, 7)
    assert len({probe(noise, labels, seed=seed).accuracy for seed in range(4)}) > 1
    with pytest.raises(ValueError, match="least populated class"):
        probe(x, torch.where(torch.arange(509) == 3, 5, labels))


def test_no_fit_sees_a_test_row(monkeypatch):
    """Huge outliers in test rows change neither means nor deviations nor components, which an independent fit gives."""
    from sklearn.decomposition import PCA
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, labels = code()
    _, test = train_test_split(range(509), test_size=0.3, stratify=labels, random_state=0)
    x[test] = 1e6 * x[test].sign()
    train = torch.ones(509, dtype=torch.bool)
    train[test] = False
    fitted = []
    for part in (StandardScaler, PCA):
        original = part.fit_transform
        monkeypatch.setattr(
            part,
            "fit_transform",
            lambda self, rows, *rest, original=original: (fitted.append((self, rows)), original(self, rows, *rest))[1],
        )
    known = baselines(x, labels, components=4)
    assert known.keys() == {"pixels", "pca-4"}
    assert {type(part) for part, _ in fitted} == {StandardScaler, PCA}
    assert max(abs(rows).max() for part, rows in fitted) < 100
    whole = [part for part, rows in fitted if isinstance(part, StandardScaler) and rows.shape == (356, 7)]
    assert len(whole) == 1  # only the last fit has all training rows, the others leave the validation rows out
    torch.testing.assert_close(torch.from_numpy(whole[0].mean_), x[train].double().mean(0))
    torch.testing.assert_close(torch.from_numpy(whole[0].scale_), x[train].double().std(0, correction=0))


def test_digits():
    images, labels = (torch.from_numpy(rows) for rows in datasets.load_digits(return_X_y=True))
    images = images.float().view(-1, 8, 8) / 16
    assert probe(images.flatten(1), labels).accuracy == pytest.approx(0.970, abs=0.015)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
    known = baselines(images, labels, encoder)
    assert known["pixels"] == probe(images.flatten(1), labels)
    assert known["pca-8"].accuracy == pytest.approx(0.906, abs=0.025)
    assert known["pca-8"].accuracy < known["pixels"].accuracy
    assert known["untrained"] == probe(encoder(images), labels)
    assert 0.6 < known["untrained"].accuracy < known["pixels"].accuracy
    assert baselines(images, labels, components=4)["pca-4"].accuracy == pytest.approx(0.794, abs=0.03)


def test_what_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(ImportError, match=r"Probes need scikit-learn: pip install 'morello\[density\]'\."):
        probe(*code())
