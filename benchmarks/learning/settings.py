"""Flags of ``morello bench learning``: its own, and those of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from msgspec import Meta

from ...agents.config.config import Config
from ...agents.config.overrides import preset_named, with_overrides
from ...agents.config.registered import with_all_registered
from ...agents.config.resolve import resolve
from ...agents.config.validation import flag_of, validated
from ...envs.errors import UserError
from ...flags import parse, parse_alone
from .peers import peer_of

OURS, PEER = "ours", "peer"

ELSEWHERE = ("run", "resume", "trust", "eval_every", "eval_video", "checkpoint_replay", "quiet")
"""Flags of training that mean nothing here."""

ARENA = {
    "env": "labyrinth:seekavoid_arena_01",
    "steps": 150_000,
    "frame_size": (32, 64),
    "torso": "shallow",
    "num_envs": 32,
    "gamma": 0.97,
    "entropy_cost": 0.015,
    "learning_rate": 0.001,
    "constant_rate": True,
}
"""Settings of --smoke: those of ``make demo``, but for an entropy cost that does not fall."""
ARENA_A2C = {"unroll": 10, "learning_rate": 0.0015, "entropy_cost": 0.006}
"""What is different for presets that are no PPO."""


@dataclass(frozen=True)
class LearningFlags:
    """Train an agent and its peer with several seeds, in turns, and report the steps and seconds until their training
    return reaches each of --returns. Peers are the PPO of Stable-Baselines3 and, for agents with memory, the
    RecurrentPPO of sb3-contrib. Writes bench-learning-ENV-PRESET.json and .png. Interrupted, the same command goes on
    after the last finished run. Other flags are those of morello train.
    """

    seeds: Annotated[int, Meta(ge=1)] = 5
    """Number of seeds, counted from --seed."""
    returns: tuple[float, ...] = ()
    """Training returns to reach."""
    window: Annotated[int, Meta(ge=1)] = 20_000
    """The training return is the mean over the episodes that ended in this many steps."""
    peers: Literal["auto", "own", "none"] = "auto"
    """auto trains the peer, with an LSTM if our agent has a memory, and gives it our settings if our agent is a PPO;
    own leaves it its own, with which it is known to learn well in the arena of make demo;
    none trains our agent alone."""
    smoke: bool = False
    """Use other defaults: seekavoid_arena_01 with the settings of make demo, but for an entropy cost that stays (for
    agents that are no PPO, a rate and an entropy cost of their own), 150,000 steps, one seed; it takes minutes."""
    out: str = "benchmarks/results"
    """Folder in which the result is written."""
    work: str = "runs/bench-learning"
    """Folder in which finished runs are kept until the result is written, and after."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


@dataclass(frozen=True)
class Bench:
    """The flags, the preset and the resolved settings of training, without the seed's."""

    flags: LearningFlags
    preset: str
    config: Config

    @property
    def agents(self) -> tuple[str, ...]:
        """Return which agents are trained."""
        return (OURS,) if self.flags.peers == "none" else (OURS, PEER)

    @property
    def own(self) -> bool:
        """Return whether the peer has settings of its own."""
        return self.flags.peers == "own"

    def runs(self) -> Iterator[tuple[str, int]]:
        """Yield each agent and seed, in the order of training: the agents take turns, seed by seed."""
        for seed in range(self.config.seed, self.config.seed + self.flags.seeds):
            for agent in self.agents:
                yield agent, seed


def read(words: list[str]) -> Bench:
    """Return what the words of the command line ask for. UserError for invalid ones, or if there is no such peer."""
    words = list(words)
    preset = words.pop(0) if words and not words[0].startswith("-") else "a2c"
    chosen = preset_named(preset)
    smoke = parse_alone(LearningFlags, "smoke", words, False)
    begun = with_overrides(chosen.config, _arena(chosen.config)) if smoke else chosen.config
    unroll = parse_alone(Config, "unroll", words, begun.unroll)  # for the defaults that depend on it
    begun = chosen.follow(dataclasses.replace(begun, unroll=unroll))
    begun = dataclasses.replace(begun, threads=1)
    default = LearningFlags(config=with_all_registered(begun))
    if smoke:
        default = dataclasses.replace(default, seeds=1, returns=(5.0, 10.0, 20.0))
    flags = validated(parse(LearningFlags, words, f"morello bench learning {preset}", default))
    for name in ELSEWHERE:
        if getattr(flags.config, name) != getattr(begun, name):
            raise UserError(f"{flag_of(name)} is not for morello bench learning: leave it out.")
    config = resolve(flags.config)
    if flags.window > config.steps:
        raise UserError(f"--window must be at most --steps, {config.steps:,}, not {flags.window:,}.")
    if flags.peers != "none":
        peer_of(config, flags.peers == "own")
    return Bench(flags, preset, config)


def is_a2c(config: Config) -> bool:
    """Return whether the policy loss has no clip range."""
    return config.learner.clip is None


def _arena(config: Config) -> dict[str, Any]:
    return ARENA | ARENA_A2C if is_a2c(config) else ARENA
