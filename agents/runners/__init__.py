"""How actors and learners run together."""

from .base import Runner
from .sync import Sync

RUNNERS: dict[str, type[Runner]] = {
    "sync": Sync,
}

__all__ = ["RUNNERS", "Runner", "Sync"]
