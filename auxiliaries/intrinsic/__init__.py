"""Intrinsic rewards: one file per paper, one line per reward here."""

from ..base import IntrinsicReward
from .byol_explore import BYOLExplore
from .compression_progress import CompressionProgress
from .count import Count, EpisodicCount
from .coverage import Coverage
from .deir import DEIR
from .disagreement import Disagreement
from .e3b import E3B
from .etd import ETD
from .icm import ICM
from .lpm import LPM
from .ngu import NGU
from .noise import Noise
from .noveld import NovelD
from .prediction_error import PredictionError
from .pseudo_count import PseudoCount
from .re3 import RE3
from .ride import RIDE
from .rnd import RND
from .vime import VIME

INTRINSIC_REWARDS: dict[str, type[IntrinsicReward]] = {
    "byol_explore": BYOLExplore,
    "compression_progress": CompressionProgress,
    "count": Count,
    "coverage": Coverage,
    "deir": DEIR,
    "disagreement": Disagreement,
    "e3b": E3B,
    "episodic_count": EpisodicCount,
    "etd": ETD,
    "icm": ICM,
    "lpm": LPM,
    "ngu": NGU,
    "noise": Noise,
    "noveld": NovelD,
    "prediction_error": PredictionError,
    "pseudo_count": PseudoCount,
    "ride": RIDE,
    "re3": RE3,
    "rnd": RND,
    "vime": VIME,
}
