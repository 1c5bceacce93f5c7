"""A run as data: every field is a flag. A preset is a set of defaults with a name and a paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ...auxiliaries import LossConfig
from ..learner_config import LearnerConfig
from ..replay import ReplayConfig

EVAL_LIMIT = 10_000


@dataclass(frozen=True)
class Config:
    """Train an agent. Steps are the agent's: one decision, several simulator frames."""

    env: str = ""
    """Environment as family:name, such as labyrinth:seekavoid_arena_01 (morello list envs shows all)."""
    steps: int = 1_000_000
    """Budget in agent steps, all environments together."""
    seed: int = 0
    """Of weights, action noise and environments."""
    num_envs: int = 64
    """Environments side by side."""
    restart_envs: bool = False
    """Make a Gymnasium or MiniWorld environment that breaks anew, and go on, instead of ending the run."""
    env_workers: int | None = None
    """Processes for Gymnasium's or MiniWorld's environments, 0 is this one; the family's default if not given."""
    env_timeout: float | None = None
    """Seconds a worker of --env-workers may take to answer before it counts as broken; 60 if not given."""
    preprocessing: Literal["own", "atari", "icm", "rgb"] = "own"
    """What the agent is shown: as is the family's own way, or as in a paper: atari (84x84 grey, 4 frames stacked, 4 a
    step), icm (42x42 grey, 4 stacked, 4 a step), rgb (colour, one frame, 4 a step). Flags of their own go first."""
    unroll: int = 20
    """Steps of each environment between two updates."""
    frame_size: tuple[int, int] | None = None
    """Height and width of images; the family's default if not given."""
    grey: bool | None = None
    """Images in grey; the family's default if not given."""
    frame_stack: int | None = None
    """Frames the agent is shown at once; the family's default if not given."""
    action_repeat: int | None = None
    """Simulator frames an action lasts, where there are any; the family's default if not given."""
    sticky_actions: float | None = None
    """Probability that the action before is repeated (0.25: Machado et al. 2018); the family's default if not given."""
    noisy_tv: Literal["none", "region", "remote"] = "none"
    """Noise over the right 40 percent of the image: new at every step, or only when an added action asks for it."""
    time_limit: int | None = None
    """Steps after which an episode is cut short; the family's own limit if not given."""
    life_loss: bool = False
    """Atari: a lost life has discount 0, while the episode goes on."""
    torso: Literal["auto", "nature", "shallow", "deep", "grid", "mlp"] = "auto"
    """Network from one observation to a vector; auto is the Nature CNN for images (shallow below 36 pixels, grid
    below 20), a perceptron for vectors."""
    memory: Literal["none", "lstm", "gru", "conv", "transformer"] = "none"
    """What the agent remembers with."""
    memory_size: int = 256
    """Width of the memory."""
    learner: Annotated[LearnerConfig, tyro.conf.arg(name="")] = field(default_factory=LearnerConfig)
    aux: dict[str, LossConfig] = field(default_factory=dict)
    """Auxiliary losses by name: those whose weight is not 0."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto is cuda where there is one."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the torso; auto is bfloat16 where the processor multiplies it in hardware."""
    threads: int | None = None
    """CPU threads, for the network and the environments; all cores if not given."""
    run: str | None = None
    """Folder of the run; runs/<env>/<preset>/<seed>-<time> if not given."""
    resume: bool = False
    """Go on from the folder's newest checkpoint; start if there is none."""
    trust: bool = False
    """With --resume: import the module that the run's environment names (gym:module:Name), without asking."""
    log_every: int = 20_000
    """Steps between two records of metrics."""
    eval_every: int = 0
    """Steps between two evaluations; 0 is never."""
    eval_episodes: int = 64
    """Episodes an evaluation plays."""
    eval_limit: int = EVAL_LIMIT
    """Steps an episode of an evaluation may take, on average, where the environment has no longer limit of its own; an
    evaluation that takes longer is given up, with a warning."""
    eval_video: bool = False
    """Put a video of an episode into TensorBoard at each evaluation."""
    checkpoint_every: int = 200_000
    """Steps between two checkpoints; there is always one at the start and at the end."""
    checkpoint_replay: bool = False
    """Keep the replay in checkpoints, or else begin with an empty one where a run goes on."""
    keep: int = 2
    """Checkpoints kept."""
    quiet: bool = False
    """Print nothing but warnings and errors."""
