"""What can be read off features by a linear classifier. Needs scikit-learn: ``pip install 'morello[density]'``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

STRENGTHS = (1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)
"""Of the L2 penalty ``strength / 2 |w|^2``, beside the sum of the losses."""
VALIDATION_SHARE = 0.2
"""Of training rows, on which the strength is chosen."""
ITERATIONS = 5000
"""At most, of the solver."""


class Probe(NamedTuple):
    """How well labels are told from features, on rows that nothing was fitted to."""

    accuracy: float
    chance: float  # accuracy of always saying the label that most training rows have
    strength: float  # the one of STRENGTHS that was chosen
    train: int  # rows
    test: int


def probe(features: Tensor, labels: Tensor, *, seed: int = 0, test_share: float = 0.3) -> Probe:
    """Logistic regression from standardised ``features`` [N, F] to ``labels`` [N] int64.

    Rows are split at random, each label in proportion. Mean, deviation and weights are those of training rows; the
    strength is the best on a part of these that the fit does not see, then all of them are fitted. Rows should be
    independent: frames of one episode on both sides flatter. ValueError if a label has too few rows to be split,
    ImportError without scikit-learn.
    """
    return _probe(features, labels, None, seed, test_share)


def baselines(
    x: Tensor, labels: Tensor, untrained: Callable[[Tensor], Tensor] | None = None, *,
    components: int = 8, seed: int = 0, test_share: float = 0.3,
) -> dict[str, Probe]:  # fmt: skip
    """What features of ``x`` [N, ...] have to beat, on the rows that `probe` would choose: the numbers themselves
    ("pixels"), their first principal components in training rows ("pca-8"), and what ``untrained``, an encoder as it
    was initialised, makes of x, [N, ...] ("untrained").
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
    """With ``components``, of that many principal components."""
    try:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import train_test_split
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ImportError("Probes need scikit-learn: pip install 'morello[density]'.") from error

    def score(strength: float, x: Array, y: Array, x_test: Array, y_test: Array) -> float:
        """Accuracy on the test rows of everything fitted to x, y."""
        parts = [] if components is None else [PCA(components, svd_solver="full")]
        parts += [StandardScaler(), LogisticRegression(C=1 / strength, max_iter=ITERATIONS)]
        return float(make_pipeline(*parts).fit(x, y).score(x_test, y_test))

    def split(x: Array, y: Array, share: float) -> tuple[Array, Array, Array, Array]:
        """Training and other rows of x and y."""
        x, x_other, y, y_other = train_test_split(x, y, test_size=share, stratify=y, random_state=seed)
        return x, y, x_other, y_other

    # In double precision, in which the solver converges.
    x, y, x_test, y_test = split(features.detach().double().cpu().numpy(), labels.cpu().numpy(), test_share)
    part = split(x, y, VALIDATION_SHARE)
    strength = max(STRENGTHS, key=lambda s: score(s, *part))  # of equals the first, which is the strongest
    accuracy = score(strength, x, y, x_test, y_test)
    usual = np.bincount(y).argmax()
    return Probe(accuracy, float((y_test == usual).mean()), strength, len(y), len(y_test))
