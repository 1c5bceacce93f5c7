"""Auxiliary losses, one file a paper, one line here."""

from ..base import AuxiliaryLoss
from .value_replay import ValueReplay

AUXILIARY_LOSSES: dict[str, type[AuxiliaryLoss]] = {
    "value_replay": ValueReplay,
}
