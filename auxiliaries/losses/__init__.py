"""Auxiliary losses: one file per paper, one line per loss here."""

from ..base import AuxiliaryLoss
from .change_prediction import ChangePrediction
from .cpc import CPCLoss
from .cpc_a import CPCA
from .curl import CURL
from .feature_control import FeatureControl
from .inverse_dynamics import InverseDynamics
from .pixel_control import PixelControl
from .reconstruction import Reconstruction
from .reward_prediction import RewardPrediction
from .spr import SPR
from .value_replay import ValueReplay

AUXILIARY_LOSSES: dict[str, type[AuxiliaryLoss]] = {
    "pixel_control": PixelControl,
    "feature_control": FeatureControl,
    "reward_prediction": RewardPrediction,
    "value_replay": ValueReplay,
    "reconstruction": Reconstruction,
    "change_prediction": ChangePrediction,
    "cpc": CPCLoss,
    "cpc_a": CPCA,
    "curl": CURL,
    "spr": SPR,
    "inverse_dynamics": InverseDynamics,
}
