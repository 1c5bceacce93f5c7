"""The libraries taking turns: what is installed, what is tried, and what is measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..timing import Tell
from .libraries import LIBRARIES, OURS
from .process import measured
from .venvs import SkippedError, python_of


@dataclass
class Turns:
    """Measurements of our agent and of the libraries that can be measured here.

    ``chosen`` names the settings of each; ``tried`` has the steps per second of each that was tried, or why there are
    none; ``notes`` says which libraries were skipped, and why.
    """

    num_envs: int
    seed: int
    warmup: float
    seconds: float
    venvs: Path
    tell: Tell
    pythons: dict[str, Path] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    tried: dict[str, dict[str, float | str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def prepare(self, names: Sequence[str]) -> None:
        """Install the libraries that are missing, and choose the first settings of each."""
        for name in names:
            library = LIBRARIES[name]
            self.tell(f"preparing {library.title}", "its first installation takes minutes")
            try:
                self.pythons[name] = python_of(self.venvs, name, library)
            except SkippedError as skipped:
                self.notes.append(str(skipped))
            else:
                self.chosen[name] = next(iter(library.candidates))

    def tune(self) -> None:
        """Measure each library once with all of its settings, and choose the fastest."""
        for name in [*self.chosen]:
            candidates = LIBRARIES[name].candidates
            found: dict[str, float | str] = {}
            for number, candidate in enumerate(candidates, 1):
                stage = f"trying settings {number} of {len(candidates)} of {LIBRARIES[name].title}"
                try:
                    found[candidate] = self.measure(name, candidate, 0, stage)
                except SkippedError as skipped:
                    found[candidate] = str(skipped)
            self.tried[name] = found
            rates = {candidate: rate for candidate, rate in found.items() if isinstance(rate, float)}
            if rates:
                self.chosen[name] = max(rates, key=rates.__getitem__)
            else:
                self._skip(name, str(next(iter(found.values()))))

    def repeats(self, count: int) -> dict[str, list[float]]:
        """Return the steps per second of each in each repeat, ours first. Raises SkippedError if ours fails."""
        found: dict[str, list[float]] = {OURS: [], **{name: [] for name in self.chosen}}
        for repeat in range(count):
            for name in [*found]:
                try:
                    candidate = self.chosen.get(name, "")
                    found[name].append(self.measure(name, candidate, repeat, f"repeat {repeat + 1} of {count}"))
                except SkippedError as skipped:
                    if name == OURS:
                        raise
                    self._skip(name, str(skipped))
                    del found[name]
        return found

    def _skip(self, name: str, why: str) -> None:
        """Leave a library out from now on."""
        self.notes.append(why)
        del self.chosen[name]

    def measure(self, name: str, candidate: str, repeat: int, stage: str) -> float:
        """Return the steps per second of one process. Raises SkippedError."""
        title = OURS if name == OURS else LIBRARIES[name].title

        def say(text: str) -> None:
            self.tell(stage, f"{title}, {text}")

        say("starting")
        settings: dict[str, Any] = {"num_envs": self.num_envs, "seed": self.seed + repeat}
        settings["seconds"] = self.warmup + self.seconds
        with TemporaryDirectory(prefix="morello-versus-") as work:
            folder = Path(work)
            (folder / "_vizdoom").mkdir()  # otherwise several simulators create it at once, and all but one fail
            run = partial(measured, title, folder=folder, warmup=self.warmup, tell=say)
            if name == OURS:
                command = [sys.executable, "-m", f"{__package__}.ours"]
                variables = os.environ | {"PYTHONPATH": _here()}
                return run(command, settings | {"run": str(folder / "run")}, variables)
            library = LIBRARIES[name]
            command = [str(self.pythons[name]), "-m", f"peers.{library.module}"]
            settings |= library.candidates[candidate]
            variables = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
            variables.pop("OMP_WAIT_POLICY", None)  # morello sets it for itself
            return run(command, settings, variables | settings["variables"])


def _here() -> str:
    """Return PYTHONPATH with absolute folders, for a process that works elsewhere."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(str(Path(entry).absolute()) for entry in entries if entry)
