"""Auxiliary losses and intrinsic rewards: one file a paper, one line here. None is built in yet."""

from .base import AuxiliaryLoss, IntrinsicReward, LossConfig

AUXILIARY_LOSSES: dict[str, type[AuxiliaryLoss]] = {}
INTRINSIC_REWARDS: dict[str, type[IntrinsicReward]] = {}

__all__ = ["AUXILIARY_LOSSES", "INTRINSIC_REWARDS", "AuxiliaryLoss", "IntrinsicReward", "LossConfig"]
