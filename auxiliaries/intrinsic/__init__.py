"""Intrinsic rewards: one file per paper, one line per reward here."""

from ..base import IntrinsicReward
from .count import Count, EpisodicCount
from .e3b import E3B
from .icm import ICM
from .rnd import RND

INTRINSIC_REWARDS: dict[str, type[IntrinsicReward]] = {
    "count": Count,
    "e3b": E3B,
    "episodic_count": EpisodicCount,
    "icm": ICM,
    "rnd": RND,
}
