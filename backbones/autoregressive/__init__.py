"""Autoregressive models: ordering x causal network x output head x side information."""

from .conditioning import Given, Sizes
from .heads import HEADS, Head
from .model import Autoregressive, Stream
from .networks import NETWORKS, CausalNetwork
from .orderings import Ordering, frames, permuted, raster, time

__all__ = [
    "HEADS", "NETWORKS", "Autoregressive", "CausalNetwork", "Given", "Head", "Ordering", "Sizes", "Stream", "frames",
    "permuted", "raster", "time",
]  # fmt: skip
