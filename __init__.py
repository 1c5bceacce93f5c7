"""morello: a reinforcement-learning agent with many more cherries.

Public functions: ``make`` an environment, ``train`` an agent, ``load`` a trained agent, ``read_runs`` to compare runs,
``intrinsic`` rewards for other trainers.
Submodules are imported on first use, so that ``import morello`` stays fast.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .envs.labyrinth.registration import announce

# Read when torch is imported. Otherwise its idle threads would spin on the cores that Labyrinth's own threads need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["intrinsic", "load", "make", "read_runs", "train"]

if TYPE_CHECKING:
    from .agents.bonus.bonus import intrinsic
    from .agents.config.load import load
    from .agents.storage.table import read_runs
    from .agents.training.train import train
    from .envs import make

_HOME = {
    "make": ".envs",
    "train": ".agents.training.train",
    "load": ".agents.config.load",
    "intrinsic": ".agents.bonus.bonus",
    "read_runs": ".agents.storage.table",
}


announce()  # registers Labyrinth with Gymnasium


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'morello' has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)
