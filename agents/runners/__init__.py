"""How actors and learners run together."""

from .sync import Sync

RUNNERS = {"sync": Sync}

__all__ = ["RUNNERS", "Sync"]
