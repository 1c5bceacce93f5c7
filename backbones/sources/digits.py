"""Handwritten digits that come with scikit-learn (Alpaydin & Kaynak, UCI, 1998): small, real and available offline.

Their entropy is not known. They are not a ``Source`` but a fixed set of items.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 17


def load_digits() -> tuple[Tensor, Tensor]:
    """Load images [1797, 8, 8, 1] int64 of ``LEVELS`` grey levels, 0 to 16, and labels [1797] int64, 0 to 9.

    Raises ImportError without scikit-learn.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install 'morello[density]'") from error
    found = datasets.load_digits()
    return torch.from_numpy(found.images).long().unsqueeze(-1), torch.from_numpy(found.target).long()
