"""Intrinsic rewards: one file per paper, one line per reward here."""

from ..base import IntrinsicReward

INTRINSIC_REWARDS: dict[str, type[IntrinsicReward]] = {}
