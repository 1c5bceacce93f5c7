"""Runners: the order in which actors and learners work."""

from .base import Runner
from .sync import Sync

RUNNERS: dict[str, type[Runner]] = {
    "sync": Sync,
}

__all__ = ["RUNNERS", "Runner", "Sync"]
