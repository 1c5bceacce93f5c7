"""Contrastive predictive coding: a bilinear head, its loss and its bound, over sequences, audio and images."""

from .cpc import CPC, Contrast, Curve, curve
from .grid import GridContext, GridCPC
from .head import ContrastiveHead
from .info_nce import info_nce, mutual_information_bound
from .pairs import pair_mask
from .sequence import SequenceCPC, WaveEncoder

__all__ = [
    "CPC", "Contrast", "ContrastiveHead", "Curve", "GridCPC", "GridContext", "SequenceCPC", "WaveEncoder", "curve",
    "info_nce", "mutual_information_bound", "pair_mask",
]  # fmt: skip
