"""Linear probes: how well a linear classifier predicts labels from features.

Needs scikit-learn: ``pip install 'morello[density]'``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

STRENGTHS = (1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)
"""Candidate strengths of the L2 penalty ``strength / 2 |w|^2``, added to the sum of the losses."""
VALIDATION_SHARE = 0.2
"""Share of the training rows on which the strength is chosen."""
ITERATIONS = 5000
"""Maximum number of solver iterations."""


class Probe(NamedTuple):
    """Result of a probe, measured on held-out rows."""

    accuracy: float
    chance: float  # accuracy of always predicting the most frequent label of the training rows
    strength: float  # chosen from STRENGTHS
    train: int  # number of training rows
    test: int  # number of test rows


def probe(features: Tensor, labels: Tensor, *, seed: int = 0, test_share: float = 0.3) -> Probe:
    """Fit a logistic regression from standardised ``features`` [N, F] to ``labels`` [N] int64 and test it.

    Rows are split at random, stratified by label. Mean, deviation and weights are fitted to training rows; the strength
    is chosen on a held-out part of these, after which all training rows are fitted. Rows should be independent: frames
    of one episode on both sides of the split inflate the accuracy. Raises ValueError if a label has too few rows to be
    split, ImportError without scikit-learn.
    """
    return _probe(features, labels, None, seed, test_share)


def baselines(
    x: Tensor,
    labels: Tensor,
    untrained: Callable[[Tensor], Tensor] | None = None,
    *,
    components: int = 8,
    seed: int = 0,
    test_share: float = 0.3,
) -> dict[str, Probe]:
    """Probe baselines for features of ``x`` [N, ...], on the same split of rows as `probe`.

    They are the raw values ("pixels"), their first principal components in training rows ("pca-8"), and the output
    [N, ...] of ``untrained``, an encoder at its initialisation ("untrained").
    """
    found = {
        "pixels": _probe(x.flatten(1), labels, None, seed, test_share),
        f"pca-{components}": _probe(x.flatten(1), labels, components, seed, test_share),
    }
    if untrained is not None:
        with torch.no_grad():
            features = untrained(x)
        found["untrained"] = _probe(features.flatten(1), labels, None, seed, test_share)
    return found


def _probe(features: Tensor, labels: Tensor, components: int | None, seed: int, test_share: float) -> Probe:
    """Probe ``features``, or their first ``components`` principal components."""
    try:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import train_test_split
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ImportError("Probes need scikit-learn: pip install 'morello[density]'.") from error

    def score(strength: float, x: Array, y: Array, x_test: Array, y_test: Array) -> float:
        """Return the accuracy on the test rows of a pipeline fitted to x, y."""
        parts = [] if components is None else [PCA(components, svd_solver="full")]
        parts += [StandardScaler(), LogisticRegression(C=1 / strength, max_iter=ITERATIONS)]
        return float(make_pipeline(*parts).fit(x, y).score(x_test, y_test))

    def split(x: Array, y: Array, share: float) -> tuple[Array, Array, Array, Array]:
        """Return the training rows of x and y, then the other rows of both."""
        x, x_other, y, y_other = train_test_split(x, y, test_size=share, stratify=y, random_state=seed)
        return x, y, x_other, y_other

    # The solver converges only in double precision.
    x, y, x_test, y_test = split(features.detach().double().cpu().numpy(), labels.cpu().numpy(), test_share)
    part = split(x, y, VALIDATION_SHARE)
    strength = max(STRENGTHS, key=lambda s: score(s, *part))  # ties go to the first, the strongest
    accuracy = score(strength, x, y, x_test, y_test)
    usual = np.bincount(y).argmax()
    return Probe(accuracy, float((y_test == usual).mean()), strength, len(y), len(y_test))
