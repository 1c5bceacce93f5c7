"""Causal networks, which compute features of each event from the events before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...dilated import Dilated
from ...recurrent import GRU, LSTM
from ...transformer import Transformer
from .base import CausalNetwork
from .gated_pixel_cnn import GatedPixelCNN
from .grid import ImageNetwork
from .pixel_cnn import PixelCNN
from .sequence import Sequence

__all__ = ["NETWORKS", "CausalNetwork", "GatedPixelCNN", "ImageNetwork", "PixelCNN", "Sequence"]

NETWORKS: dict[str, Callable[..., CausalNetwork]] = {
    "lstm": partial(Sequence, model=LSTM),
    "gru": partial(Sequence, model=GRU),
    "conv": partial(Sequence, model=Dilated),
    "transformer": partial(Sequence, model=Transformer),
    "pixel-cnn": PixelCNN,
    "gated-pixel-cnn": GatedPixelCNN,
}
"""Network builders by name, each called as ``network(ordering, width, cond, memory)``."""
