"""Wrappers over Timesteps for any `VectorEnv`; each is a `VectorEnv` itself.

They can be nested in any order, and the order matters: ``FrameStack(Grey(Resize(NoisyTV(env), 42, 42)))`` resizes the
noise too.
"""

from .base import Wrapper, unwrapped
from .frame_stack import FrameStack
from .noisy_tv import NoisyTV
from .picture import Grey, Resize
from .rewards import Rewards
from .sticky_actions import StickyActions
from .time_limit import TimeLimit
from .visit_counts import VisitCounts

__all__ = [
    "FrameStack",
    "Grey",
    "NoisyTV",
    "Resize",
    "Rewards",
    "StickyActions",
    "TimeLimit",
    "VisitCounts",
    "Wrapper",
    "unwrapped",
]
