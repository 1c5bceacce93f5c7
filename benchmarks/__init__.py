"""Benchmarks of ``morello bench``, by name in ``BENCHMARKS``, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Benchmark:
    """A module of this folder with a ``main``. Its imports may be slow or missing, so it is imported when it is run."""

    about: str
    """One line for ``morello --help``."""
    module: str

    def __call__(self, words: list[str]) -> int:
        """Run with the words after its name on the command line, and return the exit code."""
        code: int = import_module(self.module, __name__).main(words)
        return code


BENCHMARKS: dict[str, Benchmark] = {
    "throughput": Benchmark("measure steps per second of each part of training", ".throughput.command"),
    "adapters": Benchmark("measure the overhead of our adapters to other simulators", ".throughput.adapters"),
    "versus": Benchmark("compare throughput of training with other libraries through EnvPool", ".versus.command"),
    "learning": Benchmark("compare steps and time to a return with Stable-Baselines3's PPO", ".learning.command"),
    "density": Benchmark("compare density models with sources of known entropy", ".density.command"),
    "lag": Benchmark("compare V-trace with no correction on rollouts of outdated weights", ".lag.command"),
    "tv": Benchmark("measure which intrinsic rewards a noisy television attracts", ".tv.command"),
    "curves": Benchmark("write a record and a figure of finished runs", ".report.curves"),
    "reached": Benchmark("compare the steps that records need to reach a level, by environment", ".report.reached"),
}
