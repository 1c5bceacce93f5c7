"""Timing of several parts, robust to other load on the machine: interleaved repeats, medians, spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

Tell = Callable[[str, str], None]
"""Function that reports progress: the stage and the current part."""


@dataclass(frozen=True)
class Part:
    """Part to time: ``run(n)`` makes n calls of ``steps`` environment steps each, on ``threads`` torch threads."""

    about: str
    steps: int
    run: Callable[[int], object]
    threads: int = 1


@dataclass(frozen=True)
class Measurement:
    """Timing of a part: the seconds that ``calls`` calls took in each repeat."""

    about: str
    threads: int
    steps: int
    calls: int
    seconds: tuple[float, ...]

    @property
    def steps_per_second(self) -> list[float]:
        """Environment steps per second of each repeat."""
        return [self.calls * self.steps / s for s in self.seconds]

    @property
    def median(self) -> float:
        """Median steps per second over repeats."""
        return statistics.median(self.steps_per_second)

    @property
    def spread(self) -> float:
        """Spread of the repeats: (fastest - slowest) / median."""
        return (max(self.steps_per_second) - min(self.steps_per_second)) / self.median


class Timed(NamedTuple):
    """Measurements of the parts, and notes on those that are missing."""

    measurements: dict[str, Measurement]
    notes: list[str]


def measure(
    parts: Mapping[str, Part], repeats: int, seconds: float, synchronize: Callable[[], None], tell: Tell
) -> Timed:
    """Time every part ``repeats`` times for about ``seconds`` each, in turns: A B C, A B C, ...

    A slow phase of the machine thus affects all parts alike. Each part first runs until it is known how many calls fill
    its time; this also covers compilation, allocation and graph capture. ``synchronize`` waits for the device. A part
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
    """Return how many calls fill ``seconds``, at least one; a first call, for warm-up, is not counted."""
    _seconds(part, 1, synchronize)
    calls = 1
    while (taken := _seconds(part, calls, synchronize)) < seconds / 4:
        calls *= 2
    return max(1, round(calls * seconds / taken))
