"""Once made, environments do not care where the process works, nor whether that folder still exists."""

import os
from functools import partial

import pytest
import torch

import morello
from morello.envs.adapters.gymnasium import Gymnasium
from morello.envs.processes.workers import Workers

CPU = torch.device("cpu")
SIZE = {"frame_size": (5, 7)}
MAKE = {
    "labyrinth": lambda: morello.make("labyrinth:recall_left", 2, **SIZE),
    "vizdoom": lambda: morello.make("vizdoom:Basic", 2, **SIZE),
    "atari": lambda: morello.make("atari:Breakout", 2, **SIZE),
    "minigrid": lambda: morello.make("minigrid:DoorKey-5x5", 2),
    "noisy rooms": lambda: morello.make("minigrid:MultiRoomNoisyTV-N7-S4", 2),
    "gym": lambda: morello.make("gym:CartPole-v1", 2),
    "a worker that is replaced": lambda: Workers(
        partial(Gymnasium, "tests.support.gymnasium_worlds:Faulty-v0", fault="killed"),
        2,
        CPU,
        0,
        env_workers=1,
        restart_envs=True,
    ),
}


@pytest.mark.filterwarnings("ignore:.*recreated with all of its process")
@pytest.mark.parametrize("name", MAKE)
def test_an_environment_goes_on_where_its_folder_is_gone(name, tmp_path, monkeypatch):
    monkeypatch.chdir(os.getcwd())  # back there in the end
    before = os.getcwd()
    env = MAKE[name]()
    assert os.getcwd() == before
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    env.reset()
    for _ in range(4):
        now = env.step(torch.zeros(2, dtype=torch.int64))
    assert env.reset(seed=5).first.all()
    assert now.reward.shape == (2,)
    if "worker" in name:
        assert env.restarts == [1, 1]
        env.close()
