"""Timing: parts take turns, and the device is waited for."""

import pytest
import torch

from morello.benchmarks import timing
from morello.benchmarks.timing import Measurement, Part, measure

from ..support.throughput import THREADS


class Clock:
    """Seconds pass only when something is run."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def perf_counter(self):
        return self.now

    def part(self, name, seconds, steps, threads=1, late=0.0):
        def run(calls):
            self.log.append((name, calls, torch.get_num_threads()))
            self.now += calls * seconds
            self.pending = late

        return Part(name, steps, run, threads)

    def synchronize(self):
        self.now += self.pending
        self.pending = 0.0

    pending = 0.0


def test_parts_take_turns_and_the_device_is_waited_for(monkeypatch):
    clock, told = Clock(), []
    monkeypatch.setattr(timing, "time", clock)
    # b's calls return at once: the device works on for 3 seconds, however many there were.
    parts = {"a": clock.part("a", 0.25, 7), "b": clock.part("b", 0.0, 11, THREADS, late=3.0)}
    timed = measure(parts, 3, 2.0, clock.synchronize, lambda *what: told.append(what))
    assert timed.notes == []
    a, b = timed.measurements["a"], timed.measurements["b"]
    assert (a.calls, b.calls) == (8, 1)
    assert clock.log[-6:] == [("a", 8, 1), ("b", 1, THREADS)] * 3
    assert a.seconds == (2.0, 2.0, 2.0)
    assert b.seconds == (3.0, 3.0, 3.0)
    assert a.median == 28.0
    assert b.median == pytest.approx(11 / 3)
    assert told[-6:] == [(f"repeat {r} of 3", name) for r in (1, 2, 3) for name in "ab"]
    assert torch.get_num_threads() == 1


def test_a_part_that_outgrows_the_gpu_is_left_out():
    def too_large(calls):
        raise torch.OutOfMemoryError("CUDA out of memory")

    parts = {"large": Part("l", 1, too_large), "small": Part("s", 1, lambda calls: sum(range(calls)))}
    timed = measure(parts, 1, 1e-6, lambda: None, lambda *_: None)
    assert set(timed.measurements) == {"small"}
    assert timed.notes == ["large: not enough GPU memory."]


def test_median_and_spread_of_repeats():
    m = Measurement("", 1, steps=5, calls=7, seconds=(35.0, 7.0, 5.0, 3.5))  # 1, 5, 7, 10 steps a second
    assert m.median == 6.0
    assert m.spread == 1.5
