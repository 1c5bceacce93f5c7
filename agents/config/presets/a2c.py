"""A2C (Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning"), synchronous."""

from __future__ import annotations

from ..config import Config
from .base import Preset

A2C = Preset(Config(), "Nature CNN, no memory; n-step actor-critic in lock-step (Mnih et al. 2016; Mnih et al. 2015)")
