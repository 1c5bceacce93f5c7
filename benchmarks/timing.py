"""Timing several parts fairly on a machine that is never quite idle: interleaved repeats, medians, spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

Tell = Callable[[str, str], None]
"""Says what is going on: the stage, and the part it has come to."""


@dataclass(frozen=True)
class Part:
    """Something to time: ``run(n)`` makes n calls of ``steps`` environment steps each, on ``threads`` torch threads."""

    about: str
    steps: int
    run: Callable[[int], object]
    threads: int = 1


@dataclass(frozen=True)
class Measurement:
    """What was timed of a part: the seconds that ``calls`` calls took, once a repeat."""

    about: str
    threads: int
    steps: int
    calls: int
    seconds: tuple[float, ...]

    @property
    def steps_per_second(self) -> list[float]:
        """Of each repeat."""
        return [self.calls * self.steps / s for s in self.seconds]

    @property
    def median(self) -> float:
        """Steps per second: the repeats' median."""
        return statistics.median(self.steps_per_second)

    @property
    def spread(self) -> float:
        """(fastest - slowest) / median of the repeats."""
        return (max(self.steps_per_second) - min(self.steps_per_second)) / self.median


class Timed(NamedTuple):
    """Measurements of the parts, and why one is missing."""

    measurements: dict[str, Measurement]
    notes: list[str]


def measure(
    parts: Mapping[str, Part], repeats: int, seconds: float, synchronize: Callable[[], None], tell: Tell
) -> Timed:
    """Time every part ``repeats`` times for about ``seconds`` each, taking turns: A B C, A B C, ...

    So a slow minute of the machine touches all parts alike. Each part first runs as often as it takes to know how many
    calls fill its time; what compiles, allocates or records does so then. ``synchronize`` waits for the device. A part
    that runs out of GPU memory is left out and noted.
    """
    threads = torch.get_num_threads()
    calls: dict[str, int] = {}
    notes = []
    try:
        for name, part in parts.items():
            tell("warming up", name)
            try:
                calls[name] = _calls_in(part, seconds, synchronize)
            except torch.OutOfMemoryError:
                notes.append(f"{name}: not enough GPU memory.")
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for repeat in range(1, repeats + 1):
            for name, count in calls.items():
                tell(f"repeat {repeat} of {repeats}", name)
                taken[name].append(_seconds(parts[name], count, synchronize))
    finally:
        torch.set_num_threads(threads)
    measured = {
        name: Measurement(parts[name].about, parts[name].threads, parts[name].steps, calls[name], tuple(taken[name]))
        for name in calls
    }
    return Timed(measured, notes)


def _seconds(part: Part, calls: int, synchronize: Callable[[], None]) -> float:
    torch.set_num_threads(part.threads)
    synchronize()
    start = time.perf_counter()
    part.run(calls)
    synchronize()
    return time.perf_counter() - start


def _calls_in(part: Part, seconds: float, synchronize: Callable[[], None]) -> int:
    """How many calls fill ``seconds``, at least one. The first call, which prepares things, does not count."""
    _seconds(part, 1, synchronize)
    calls = 1
    while (taken := _seconds(part, calls, synchronize)) < seconds / 4:
        calls *= 2
    return max(1, round(calls * seconds / taken))
