"""The two networks of IMPALA (Espeholt et al. 2018, figure 3), trained with A2C."""

from __future__ import annotations

from ..config import Config
from .base import Preset

A2C_LSTM = Preset(
    Config(torso="shallow", memory="lstm"),
    "shallow CNN and LSTM of A3C and IMPALA (Espeholt et al. 2018, figure 3 left)",
)

A2C_DEEP = Preset(
    Config(torso="deep", memory="lstm"),
    "deep residual CNN and LSTM of IMPALA (Espeholt et al. 2018, figure 3 right)",
)
