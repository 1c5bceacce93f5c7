"""Auxiliary losses and intrinsic rewards: one file per paper."""

from .base import Auxiliary, AuxiliaryConfig, AuxiliaryLoss, IntrinsicConfig, IntrinsicReward, LossConfig, Scored
from .intrinsic import INTRINSIC_REWARDS
from .losses import AUXILIARY_LOSSES

__all__ = [
    "AUXILIARY_LOSSES",
    "INTRINSIC_REWARDS",
    "Auxiliary",
    "AuxiliaryConfig",
    "AuxiliaryLoss",
    "IntrinsicConfig",
    "IntrinsicReward",
    "LossConfig",
    "Scored",
]
