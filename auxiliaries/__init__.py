"""Auxiliary losses and intrinsic rewards: one file a paper. No intrinsic reward is built in yet."""

from .base import AuxiliaryLoss, IntrinsicReward, LossConfig
from .losses import AUXILIARY_LOSSES

INTRINSIC_REWARDS: dict[str, type[IntrinsicReward]] = {}

__all__ = ["AUXILIARY_LOSSES", "INTRINSIC_REWARDS", "AuxiliaryLoss", "IntrinsicReward", "LossConfig"]
