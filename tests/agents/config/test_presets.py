"""What presets hold for unrolls of any length, on the command line and from Python."""

import json

import pytest

from morello.__main__ import main
from morello.agents.config.presets import PRESETS
from morello.agents.training.train import train
from morello.auxiliaries.losses.pixel_control import PixelControlConfig

TINY = [
    "--env", "labyrinth:seekavoid_arena_01", "--steps", "100", "--num-envs", "2", "--frame-size", "36", "36",
    "--memory-size", "8", "--replay.capacity", "400", "--threads", "1", "--quiet",
]  # fmt: skip


def saved(folder):
    return json.loads((folder / "config.json").read_text())


def test_unreals_numbers_follow_the_unroll_and_a_flag_comes_first(tmp_path):
    words = ["train", "unreal", *TINY, "--unroll", "50", "--max-grad-norm", "7", "--run", str(tmp_path / "run")]
    assert main(words) == 0
    found = saved(tmp_path / "run")
    assert found["learner"]["epsilon"] == pytest.approx(0.1 / 50**2)
    assert found["learner"]["max_grad_norm"] == 7
    assert found["aux"]["reward_prediction"]["weight"] == pytest.approx(1 / 50)
    assert found["aux"]["pixel_control"]["weight"] == 0.05
    assert found["unroll"] == 50


def test_from_python_too(tmp_path):
    small = {"num_envs": 2, "frame_size": (36, 36), "memory_size": 8, "threads": 1, "quiet": True}
    aux = {"pixel_control": PixelControlConfig(weight=0.01)}
    env, run = "labyrinth:seekavoid_arena_01", str(tmp_path / "run")
    train("unreal", env=env, run=run, unroll=10, steps=20, replay=PRESETS["unreal"].replay, aux=aux, **small)
    found = saved(tmp_path / "run")
    assert found["learner"]["epsilon"] == pytest.approx(0.1 / 10**2)
    assert found["learner"]["max_grad_norm"] == pytest.approx(4)
    assert found["aux"]["reward_prediction"]["weight"] == pytest.approx(0.1)
    assert found["aux"]["pixel_control"]["weight"] == 0.01


def test_cpc_clips_rewards_as_its_paper():
    assert PRESETS["a2c-cpc"].learner.reward == "clip"
