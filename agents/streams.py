"""Reward streams: the components of reward that the learner sums."""

from __future__ import annotations

from typing import NamedTuple

from .model import EXTRINSIC


class Stream(NamedTuple):
    """One summed component of reward, with its own value head."""

    name: str
    gamma: float
    weight: float = 1.0
    episodic: bool = True


def value_name(stream: Stream) -> str:
    """Return the name of the stream's value loss among the learner's terms."""
    return "value" if stream.name == EXTRINSIC else f"value/{stream.name}"
