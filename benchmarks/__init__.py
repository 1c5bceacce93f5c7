"""Measuring. ``BENCHMARKS`` holds what ``morello bench`` runs, each from its words on the command line."""

from __future__ import annotations

from collections.abc import Callable


def _throughput(words: list[str]) -> int:
    from .throughput.command import main

    return main(words)


def _curves(words: list[str]) -> int:
    from .report.curves import main

    return main(words)


def _adapters(words: list[str]) -> int:
    from .throughput.adapters import main

    return main(words)


def _density(words: list[str]) -> int:
    from .density.command import main

    return main(words)


BENCHMARKS: dict[str, Callable[[list[str]], int]] = {
    "throughput": _throughput,
    "adapters": _adapters,
    "density": _density,
    "curves": _curves,
}
"""Each runs with the words after its name and returns the exit code."""
