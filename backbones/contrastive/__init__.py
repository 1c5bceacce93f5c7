"""Contrastive predictive coding: a bilinear head, its loss and its bound, over sequences, audio and images."""

from .actions import ActionContext, next_actions
from .cpc import CPC, Contrast, HorizonCurve, Source, curve
from .grid import GridContext, GridCPC
from .head import ContrastiveHead
from .info_nce import info_nce, mutual_information_bound
from .pairs import draw, pair_mask, rows_of, usable_horizons
from .sequence import SequenceCPC, WaveEncoder

__all__ = [
    "CPC",
    "ActionContext",
    "Contrast",
    "ContrastiveHead",
    "GridCPC",
    "GridContext",
    "HorizonCurve",
    "SequenceCPC",
    "Source",
    "WaveEncoder",
    "curve",
    "draw",
    "info_nce",
    "mutual_information_bound",
    "next_actions",
    "pair_mask",
    "rows_of",
    "usable_horizons",
]
