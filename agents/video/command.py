"""``morello watch``: a video of a run's agent."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tyro.conf import Positional

from ..evaluation.evaluate import SEED
from .film import watch


@dataclass(frozen=True)
class WatchFlags:
    """Film the agent of a run: its observations, position, value estimate, actions and intrinsic rewards."""

    run: Positional[str]
    """Folder of the run."""
    out: str | None = None
    """File of the video. If not given: videos/<step>.mp4 in the run folder."""
    episodes: int = 1
    """Number of whole episodes to film."""
    seconds: float | None = None
    """Length of the video in seconds (15 steps each), instead of whole episodes."""
    env: str | None = None
    """Film in another environment with the same observations and actions. If not given: the run's own."""
    greedy: bool = False
    """Take the most likely action instead of sampling."""
    seed: int = SEED
    """Seed of the environment and the policy."""
    device: str = "auto"
    """Device to run on: cpu, cuda, cuda:1 and so on; auto is cuda where available."""
    trust: bool = False
    """Import the module named by the run's environment (gym:module:Name) without asking."""


def watch_run(flags: WatchFlags) -> int:
    """Film the agent of a run and print the path of the video."""
    print(watch(**dataclasses.asdict(flags)))
    return 0
