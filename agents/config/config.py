"""The settings of a run: every field is a flag. A preset is a set of defaults with a name and a paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro
from msgspec import Meta

from ...auxiliaries import IntrinsicConfig, LossConfig
from ...backbones import MEMORIES, TORSOS
from ...envs import EnvSettings
from ..learner_config import ExtrinsicConfig, LearnerConfig
from ..replay import ReplayConfig
from ..runners import RUNNERS

EVAL_LIMIT = 10_000


@dataclass(frozen=True)
class Begin:
    """The essential settings of a run, which --help lists first."""

    env: str = ""
    """Environment as family:name, such as labyrinth:seekavoid_arena_01 (morello list envs shows all)."""
    steps: Annotated[int, Meta(ge=1)] = 1_000_000
    """Training budget in agent steps, counted over all environments together."""
    seed: Annotated[int, Meta(ge=0, lt=2**62)] = 0  # evaluations add their own seed to it
    """Seed of weights, action noise and environments."""
    num_envs: Annotated[int, Meta(ge=1)] = 64
    """Number of environments stepped side by side."""
    unroll: Annotated[int, Meta(ge=1)] = 20
    """Steps of each environment in a rollout."""


@dataclass(frozen=True)
class Config(EnvSettings, Begin):
    """Train an agent. Steps are agent steps: one step is one decision, which may last several simulator frames."""

    # Annotations are evaluated on access, so choices include everything registered by then.

    torso: Literal["auto", *TORSOS] = "auto"  # type: ignore[valid-type]
    """Network that encodes one observation: nature (Nature CNN), shallow or deep (IMPALA CNNs), grid (MiniGrid codes)
    or mlp (perceptron for vectors).
    auto chooses the Nature CNN for images (shallow if the shorter side is below 36 pixels,
    grid below 20) and a perceptron for vectors."""
    memory: Literal[*MEMORIES] = "none"  # type: ignore[valid-type]
    """Memory module: none, LSTM, GRU, causal convolution or transformer."""
    memory_size: Annotated[int, Meta(ge=2)] = 256  # a transformer's layer norm maps a single number to 0
    """Width of the memory's output, not its length; ignored without memory."""
    runner: Literal[*RUNNERS] = "sync"  # type: ignore[valid-type]
    """How acting and learning take turns; morello list runners describes each choice."""
    stagger: bool = False
    """Start the environments' first episodes at different times, as if they had been under way, so that a rollout
    contains all phases of an episode: in Labyrinth, and in other environments with --time-limit."""
    learner: Annotated[LearnerConfig, tyro.conf.arg(name="")] = field(default_factory=LearnerConfig)
    aux: dict[str, LossConfig] = field(default_factory=dict)
    """Auxiliary losses by name; those of weight 0 are off."""
    intrinsic: dict[str, IntrinsicConfig] = field(default_factory=dict)
    """Intrinsic rewards by name; those of weight 0 are off."""
    extrinsic: ExtrinsicConfig = field(default_factory=ExtrinsicConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    device: str = "auto"
    """Device to train on: cpu, cuda, cuda:1 and so on; auto is cuda where available."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the torso; auto is bfloat16 on GPUs and CPUs that multiply it natively,
    so set float32 to compare machines."""
    threads: int | None = None
    """Number of CPU threads for the network and the environments. If not given: all cores, but 1 for MiniGrid on
    a CPU, whose grids are too small to share out."""
    run: str | None = None
    """Folder of the run. If not given: runs/<env>/<preset>/<seed>-<time>."""
    resume: bool = False
    """Continue --run from its newest checkpoint, with its saved settings and the new total of --steps, if given.
    With --env, start a new run if there is no checkpoint."""
    trust: bool = False
    """With --resume: import the module named by the run's environment (gym:module:Name) without asking."""
    log_every: Annotated[int, Meta(ge=1)] = 20_000
    """Steps between two records of metrics."""
    eval_every: Annotated[int, Meta(ge=0)] = 0
    """Steps between two evaluations; 0 disables evaluation."""
    eval_episodes: Annotated[int, Meta(ge=1)] = 64
    """Number of episodes in each evaluation."""
    eval_limit: Annotated[int, Meta(ge=1)] = EVAL_LIMIT
    """Abandon an evaluation, with a warning, if its episodes take more steps than this on average,
    or than the environment's own time limit if that is longer."""
    eval_video: bool = False
    """Write a video of one episode to TensorBoard at each evaluation."""
    checkpoint_every: Annotated[int, Meta(ge=0)] = 200_000
    """Steps between two checkpoints, besides those at the start and at the end; 0 writes only these."""
    checkpoint_replay: bool = False
    """Store the replay in checkpoints; otherwise a resumed run starts with an empty one."""
    keep: Annotated[int, Meta(ge=1)] = 2
    """Number of most recent checkpoints to keep."""
    quiet: bool = False
    """Print only warnings and errors."""
