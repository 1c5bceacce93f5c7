"""Options of environments. Each has one name, used as command-line flag, `Config` field and keyword of ``make``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta


@dataclass(frozen=True)
class EnvSettings:
    """Options that are also settings of a run. A family takes some of them itself; None, "own" and "none" leave the
    family's default unchanged.
    """

    restart_envs: bool = False
    """Replace a Gymnasium or MiniWorld environment that breaks with a new one, instead of ending the run."""
    env_workers: Annotated[int, Meta(ge=0, le=1024)] | None = None
    """Number of processes for Gymnasium or MiniWorld environments; 0 runs them in this process.
    If not given: the environment family's own."""
    env_timeout: Annotated[float, Meta(gt=0)] | None = None
    """Seconds a worker process may take to answer before it counts as broken. If not given: 60."""
    preprocessing: Literal["own", "atari", "icm", "rgb"] = "own"
    """How observations are prepared: own (the environment family's default),
    atari (84x84 grey, 4 frames stacked), icm (42x42 grey, 4 frames stacked) or rgb (colour, one frame),
    each with action repeat 4 in ViZDoom and Atari. Explicit flags override these values; rewards are not changed."""
    frame_size: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]] | None = None
    """Height and width of images in pixels. If not given: the environment family's own."""
    grey: bool | None = None
    """Convert images to grey. If not given: the environment family's own."""
    frame_stack: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Number of most recent frames in each observation. If not given: the environment family's own."""
    action_repeat: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Simulator frames for which each action is repeated (ViZDoom and Atari).
    If not given: the environment family's own."""
    sticky_actions: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Probability of repeating the previous action instead of the chosen one (0.25 in Machado et al. 2018),
    drawn at every simulator frame in Atari and at every step elsewhere.
    If not given: the environment family's own."""
    noisy_tv: Literal["none", "region", "remote"] = "none"
    """Noise instead of the right 40 percent of the image: none, region (new noise at every step) or
    remote (new noise only when an additional action asks for it, which does nothing else)."""
    time_limit: Annotated[int, Meta(ge=1)] | None = None
    """Agent steps after which an episode is cut short; some families refuse more than their own limit.
    If not given: the environment family's own."""
    life_loss: bool = False
    """Atari only: set the discount to 0 when a life is lost, while the episode goes on."""


@dataclass(frozen=True)
class EnvOptions(EnvSettings):
    """All keyword options of ``make``. The fields added here have no command-line flag."""

    threads: int | None = None
    """CPU threads of the simulator; ViZDoom, whose threads wait for processes, takes twice as many for each pool.
    If not given: torch's number of threads."""
    pools: int = 2
    """ViZDoom and Atari: number of alternating pools (1 or 2); with 2, one simulates while the agent acts in the other.
    """
    env_offset: int = 0
    """Global index of environment 0; together with the seed it determines every episode."""
    depth: bool = False
    """Labyrinth only: add the distance of each pixel as the observation "depth"."""
    render: bool = False
    """Make environment 0 so that it can be rendered, for families that must know this beforehand."""


PLAY = ("sticky_actions", "noisy_tv", "time_limit")
"""Options that change how an environment of any family is played, not only how it looks."""

NOTHING: dict[str, Any] = {
    "sticky_actions": 0.0,
    "grey": False,
    "noisy_tv": "none",
    "frame_stack": 1,
    "time_limit": None,
    "action_repeat": 1,
}
"""Values that disable an option, whatever the family's default."""
