"""Presets: named settings, one file per paper."""

from .a2c import A2C
from .base import Preset
from .cpc import A2C_CPC
from .curiosity import CURIOUS
from .impala import A2C_DEEP, A2C_LSTM
from .ppo import PPO, PPO_GRU, PPO_LSTM, PPO_TRANSFORMER
from .unreal import UNREAL

PRESETS: dict[str, Preset] = {
    "a2c": A2C,
    "a2c-lstm": A2C_LSTM,
    "a2c-deep": A2C_DEEP,
    "a2c-cpc": A2C_CPC,
    "unreal": UNREAL,
    "ppo": PPO,
    "ppo-lstm": PPO_LSTM,
    "ppo-gru": PPO_GRU,
    "ppo-transformer": PPO_TRANSFORMER,
    **CURIOUS,
}

__all__ = ["PRESETS", "Preset"]
