"""What presets hold for unrolls of any length, on the command line and from Python."""

import json

import pytest

from morello.__main__ import main
from morello.agents.config.presets import PRESETS
from morello.agents.training.train import train
from morello.auxiliaries.intrinsic import INTRINSIC_REWARDS
from morello.auxiliaries.losses.pixel_control import PixelControlConfig
from morello.envs.errors import UserError

TINY = [
    "--env",
    "labyrinth:seekavoid_arena_01",
    "--steps",
    "100",
    "--num-envs",
    "2",
    "--frame-size",
    "36",
    "36",
    "--memory-size",
    "8",
    "--replay.capacity",
    "400",
    "--threads",
    "1",
    "--quiet",
]


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


def test_help_shows_the_numbers_of_the_unroll_that_is_given(capsys):
    for words in (["--unroll", "50", "--help"], ["-h", "--steps", "10", "--unroll=50"]):
        with pytest.raises(SystemExit) as caught:
            main(["train", "unreal", *words])
        assert caught.value.code == 0
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        for said in (
            "--unroll INT Steps of each environment in a rollout. (default: 50)",
            "are clipped separately, at 10. (default: 0.8)",
            f"(default: {0.1 / 50**2})",
        ):
            assert said in shown


@pytest.mark.parametrize("unroll", ["0", "-3", "many"])
def test_an_unroll_that_cannot_be_is_refused(capsys, unroll):
    assert main(["train", "unreal", *TINY, "--unroll", unroll]) == 2
    said = capsys.readouterr().err
    assert "--unroll" in said
    assert said.count("\n") == 1
    with pytest.raises(UserError, match="--unroll must be"):
        train("unreal", env="counting:steps", unroll=0 if unroll == "0" else unroll)


@pytest.mark.parametrize("unroll", [3, 20, 50])
def test_a_preset_is_the_same_at_its_own_unroll(unroll):
    for preset in PRESETS.values():
        assert preset.at(preset.config.unroll) == preset.config
        assert preset.at(unroll).unroll == unroll
    found = PRESETS["unreal"].at(unroll)
    assert (found.learner.epsilon, found.learner.max_grad_norm) == (0.1 / unroll**2, 40 / unroll)
    assert found.aux["reward_prediction"].weight == 1 / unroll
    assert list(found.aux) == ["pixel_control", "reward_prediction", "value_replay"]


@pytest.mark.parametrize("settings", ["unreal", PRESETS["unreal"]])
def test_from_python_too(tmp_path, settings):
    small = {"num_envs": 2, "frame_size": (36, 36), "memory_size": 8, "threads": 1, "quiet": True}
    aux = {"pixel_control": PixelControlConfig(weight=0.01)}
    env, run = "labyrinth:seekavoid_arena_01", str(tmp_path / "run")
    train(settings, env=env, run=run, unroll=10, steps=20, replay=PRESETS["unreal"].config.replay, aux=aux, **small)
    found = saved(tmp_path / "run")
    assert found["learner"]["epsilon"] == pytest.approx(0.1 / 10**2)
    assert found["learner"]["max_grad_norm"] == pytest.approx(4)
    assert found["aux"]["reward_prediction"]["weight"] == pytest.approx(0.1)
    assert found["aux"]["pixel_control"]["weight"] == 0.01


def test_cpc_clips_rewards_as_its_paper():
    assert PRESETS["a2c-cpc"].config.learner.reward == "clip"


@pytest.mark.parametrize(("name", "unroll"), [("ride", 100), ("noveld", 100), ("e3b", 80), ("e3b", 20)])
def test_settings_for_sums_over_time_are_divided_by_its_length(name, unroll):
    found = PRESETS[name].at(unroll).learner
    assert found.max_grad_norm == pytest.approx(40 / unroll)
    assert found.epsilon == pytest.approx(1e-5 / unroll)


def test_rewards_are_divided_by_their_returns_deviation_unless_a_preset_has_the_normaliser_of_its_paper():
    assert {name: reward.Config().normalise for name, reward in INTRINSIC_REWARDS.items()} == dict.fromkeys(
        INTRINSIC_REWARDS, "return"
    )
    raw = {"icm", "pseudo_count", "vime", "ride", "re3", "byol_explore", "count"}
    papers = {"none": raw, "reward": {"e3b"}, "standard": {"deir", "etd"}}
    for preset in PRESETS.values():
        for name, config in preset.config.intrinsic.items():
            assert config.normalise == next((kind for kind, names in papers.items() if name in names), "return")
            assert config.weight <= 0.1 or config.normalise != "none"  # for values of any size


def test_bonuses_that_papers_add_to_the_reward_end_with_the_episode():
    added = {"icm", "pseudo_count", "vime", "count", "ride", "noveld", "e3b", "deir", "etd", "re3", "ngu"}
    own = {name: config for preset in PRESETS.values() for name, config in preset.config.intrinsic.items()}
    assert {name for name in added if not own[name].episodic} == set()
    assert not own["rnd"].episodic
    for name in ("icm", "ride", "noveld", "e3b", "count", "rnd"):
        assert PRESETS[name].config.learner.reward == "clip"
