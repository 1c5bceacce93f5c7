"""``morello watch``: a film of a run's agent."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tyro.conf import Positional

from ..evaluation.evaluate import SEED
from .film import watch


@dataclass(frozen=True)
class WatchFlags:
    """Film the agent of a run: what it sees, where it goes, what it expects and what it does."""

    run: Positional[str]
    """Folder of the run."""
    out: str | None = None
    """The film; videos/<step>.mp4 in the run if not given."""
    episodes: int = 1
    """Whole episodes to film."""
    seconds: float | None = None
    """Film so many seconds (15 steps each) instead of whole episodes."""
    env: str | None = None
    """Another environment with the same observations and actions; the run's own if not given."""
    greedy: bool = False
    """Take the likeliest action instead of sampling."""
    seed: int = SEED
    """Of the environment and the policy."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto is cuda where there is one."""
    trust: bool = False
    """Import the module that the run's environment names (gym:module:Name), without asking."""


def watch_run(flags: WatchFlags) -> int:
    """``morello watch``: film, and say where the film is."""
    print(watch(**dataclasses.asdict(flags)))
    return 0
