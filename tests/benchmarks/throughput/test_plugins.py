"""What losses and rewards cost: the benchmark trains with each beside training without, and says the difference."""

import json

import pytest

from morello.__main__ import main

TINY = [
    "--env",
    "labyrinth:seekavoid_arena_01",
    "--num-envs",
    "3",
    "--unroll",
    "5",
    "--frame-size",
    "36",
    "36",
    "--torso",
    "shallow",
    "--seconds",
    "0.001",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--repeats",
    "2",
]


def test_each_loss_is_measured_beside_training_without(tmp_path, capsys):
    words = ["--aux", "pixel_control", "reward_prediction", "cpc", "--out", str(tmp_path)]
    assert main(["bench", "throughput", *TINY, *words]) == 0
    found = json.loads((tmp_path / "throughput-aux-cpu.json").read_text())
    assert list(found["parts"]) == ["plain", "pixel_control", "pixel_control 1:2", "reward_prediction", "cpc"]
    rate = {name: part["median"] for name, part in found["parts"].items()}
    assert found["overhead"] == pytest.approx({k: rate["plain"] / v - 1 for k, v in rate.items() if k != "plain"})
    shown = capsys.readouterr().out
    assert "reward_prediction" in shown
    assert f"{rate['cpc']:,.0f}" in shown


def test_each_reward_is_measured_beside_training_without(tmp_path, capsys):
    words = ["--intrinsic", "rnd", "episodic_count", "--out", str(tmp_path)]
    assert main(["bench", "throughput", *TINY, *words]) == 0
    found = json.loads((tmp_path / "throughput-intrinsic-cpu.json").read_text())
    assert list(found["parts"]) == ["plain", "rnd", "episodic_count"]
    assert found["overhead"].keys() == {"rnd", "episodic_count"}
    assert "episodic_count" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--aux", "pixel_contrl"], "pixel_control"),
        (["--intrinsic", "rndd"], "rnd"),
        (["--aux", "cpc", "--intrinsic", "rnd"], "--intrinsic"),
        (["--aux", "all", "--sweep", "--device", "cpu"], "--sweep"),
    ],
)
def test_mistakes_are_one_sentence(words, hint, tmp_path, capsys):
    assert main(["bench", "throughput", *words, "--out", str(tmp_path)]) == 2
    assert hint in capsys.readouterr().err
