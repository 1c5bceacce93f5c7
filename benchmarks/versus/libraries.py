"""The other libraries, and the settings with which each is tried; without --tune the first are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OURS = "morello"


@dataclass(frozen=True)
class Library:
    """A library that is measured in an environment of its own."""

    title: str
    algorithm: str
    package: str
    """Name of its distribution."""
    requirement: str
    """What pip installs, beside torch and EnvPool in the versions of ours."""
    module: str
    """Module of ``peers`` that trains."""
    candidates: Mapping[str, Mapping[str, Any]]
    """Settings of that module by what they are called; ``variables`` are those of the environment."""


SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Environment variable with which torch's idle threads leave their cores to the simulators."""


def _sb3() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield settings of Stable-Baselines3's A2C: n_steps 5 is its default and 20 is our unroll; torch's idle threads
    sleep as ours do, or wait actively, which is torch's default. EnvPool's threads mostly wait for simulators.
    """
    tried = (
        # n_steps, torch's threads, which sleep, EnvPool's threads
        (20, 2, True, 16),
        (20, 2, True, 2),
        (20, 2, False, 16),
        (20, 2, False, 2),
        (5, 2, True, 16),
        (20, 1, True, 16),
    )
    for n_steps, threads, sleeps, pool_threads in tried:
        waiting = ", which sleep" if sleeps and threads > 1 else ""
        name = f"n_steps {n_steps}, {threads} torch threads{waiting}, pool threads {pool_threads}"
        shared = {"torch_threads": threads, "pool_threads": pool_threads, "variables": SLEEP if sleeps else {}}
        yield name, {**shared, "a2c": {"n_steps": n_steps}}


NATURE = {
    "algo": "APPO",
    "encoder_conv_architecture": "convnet_atari",
    "nonlinearity": "relu",
    "obs_scale": 255.0,
    "use_rnn": False,
}
"""Flags that make Sample Factory's network the Nature CNN, without memory."""
CHEAPEST = {"num_epochs": 1, "num_batches_per_epoch": 1, "normalize_input": False, "normalize_returns": False}
"""Flags with which Sample Factory computes least for a step: each is learned from once, and nothing is normalised."""


def _sample_factory() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield settings of Sample Factory: mode, worker processes, EnvPools side by side in each, and steps in a batch.

    In serial mode everything is one process, whose torch has two threads; otherwise simulation, inference and learning
    are processes of one thread each, and EnvPool's threads come on top.
    """
    tried = (
        # mode, workers, splits, rollout, batch, EnvPool's threads, torch's threads
        ("asynchronous", 2, 1, 32, 1024, 1, 1),
        ("asynchronous", 1, 1, 32, 1024, 2, 1),
        ("asynchronous", 1, 1, 32, 1024, 4, 1),
        ("asynchronous", 1, 1, 32, 1024, 16, 1),
        ("asynchronous", 1, 1, 20, 320, 2, 1),
        ("asynchronous", 1, 1, 20, 320, 16, 1),
        ("asynchronous", 1, 2, 32, 1024, 1, 1),
        ("asynchronous", 2, 2, 32, 1024, 1, 1),
        ("asynchronous", 2, 1, 20, 320, 1, 1),
        ("asynchronous", 2, 1, 20, 320, 8, 1),
        ("asynchronous", 2, 1, 32, 1024, 8, 1),
        ("asynchronous", 2, 1, 128, 2048, 1, 1),
        ("synchronous", 2, 1, 32, 512, 1, 1),
        ("synchronous", 2, 1, 32, 512, 8, 1),
        ("serial", 1, 1, 20, 320, 2, 2),
        ("serial", 1, 1, 20, 320, 16, 2),
        ("serial", 1, 1, 32, 1024, 2, 2),
    )
    for mode, workers, splits, rollout, batch, pool_threads, torch_threads in tried:
        flags = {
            "serial_mode": mode == "serial",
            "async_rl": mode == "asynchronous",
            "batched_sampling": True,
            "num_workers": workers,
            "num_envs_per_worker": splits,
            "worker_num_splits": splits,
            "rollout": rollout,
            "batch_size": batch,
        }
        settings = {
            "pool_threads": pool_threads,
            "torch_threads": torch_threads,
            "variables": SLEEP,
            "flags": {**NATURE, **CHEAPEST, **flags},
        }
        pools = f"workers {workers}, pools {splits}, pool threads {pool_threads}"
        yield f"{mode}, {pools}, rollout {rollout}, batch {batch}", settings


LIBRARIES = {
    "stable-baselines3": Library(
        "Stable-Baselines3", "A2C", "stable-baselines3", "stable-baselines3>=2.7,<3", "sb3_a2c", dict(_sb3())
    ),
    "sample-factory": Library(
        "Sample Factory", "APPO", "sample-factory", "sample-factory>=2.1,<3", "appo", dict(_sample_factory())
    ),
}
"""Libraries by the word that --libraries takes."""
