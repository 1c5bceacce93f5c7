"""Intrinsic rewards, one file a paper, one line here."""

from ..base import IntrinsicReward

INTRINSIC_REWARDS: dict[str, type[IntrinsicReward]] = {}
