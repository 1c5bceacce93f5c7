"""A run that takes a second, and what it leaves."""

import json

import pytest
import torch

from morello.agents.config.config import Config
from morello.agents.storage import checkpoint
from morello.agents.training.train import train

SMALL = Config(
    env="labyrinth:seekavoid_arena_01",
    steps=2_000,
    num_envs=4,
    unroll=5,
    frame_size=(36, 36),
    torso="shallow",
    memory="lstm",
    memory_size=16,
    log_every=240,
    checkpoint_every=300,
    threads=1,
    quiet=True,
)

SMALL_ROOMS = {
    "settings": "a2c",
    "env": "labyrinth:nine_rooms",
    "time_limit": 30,
    "frame_size": (20, 20),
    "torso": "shallow",
    "intrinsic": {"count": 1.0},
    "steps": 600,
    "num_envs": 5,
    "unroll": 4,
    "log_every": 200,
    "checkpoint_every": 120,
    "threads": 1,
    "quiet": True,
}

NO_REWARD = {"intrinsic": {}, "torso": "auto", "time_limit": None, "frame_size": None}
ROOM = SMALL_ROOMS | NO_REWARD | {"env": "minigrid:Empty-5x5"}
POLE = SMALL_ROOMS | NO_REWARD | {"env": "gym:CartPole-v1"}


def records(folder):
    """Metrics without those of the clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]


def weights(folder):
    return checkpoint.load(folder / "checkpoints")[1]["learner"]


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


class Stop(Exception):
    pass


def stopped(folder, settings, at=180):
    """A run whose newest checkpoint is from before it ended with an error at a record."""

    def stop(record):
        if record["step"] >= at:
            raise Stop

    with pytest.raises(Stop):
        train(run=str(folder), on_record=stop, **settings)
