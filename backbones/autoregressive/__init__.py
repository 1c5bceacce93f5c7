"""Autoregressive models: ordering x causal network x output head x side information."""

from .conditioning import Given, GivenSizes
from .heads import HEADS, Head
from .model import Autoregressive, PartialItem
from .networks import NETWORKS, CausalNetwork
from .orderings import Ordering, frames, permuted, raster, time

__all__ = [
    "HEADS",
    "NETWORKS",
    "Autoregressive",
    "CausalNetwork",
    "Given",
    "GivenSizes",
    "Head",
    "Ordering",
    "PartialItem",
    "frames",
    "permuted",
    "raster",
    "time",
]
