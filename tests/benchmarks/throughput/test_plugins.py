"""What losses and rewards cost: the benchmark trains with each beside training without, and says the difference."""

import json

import pytest
import torch

from morello.__main__ import main
from morello.agents.config.build import build
from morello.agents.config.config import Config
from morello.agents.config.resolve import resolve
from morello.benchmarks.throughput import plugins

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


def test_policies_stay_as_they_are_while_rewards_are_measured(monkeypatch):
    """What a step of the environment costs depends on what agents do, which is not a reward's cost."""
    built = []

    def kept(config):
        built.append(build(config))
        return built[-1]

    monkeypatch.setattr(plugins, "build", kept)
    config = resolve(Config(env="gym:CartPole-v1", num_envs=2, unroll=5, steps=10**6, device="cpu", threads=1))
    parts = plugins.reward_parts(config, ["rnd"])
    before = [[p.clone() for p in model.parameters()] for _, model, _, _ in built]
    predictor = [p.clone() for p in built[1][3].plugins["rnd"].networks.trunk.parameters()]
    for part in parts.values():
        part.run(3)
    for old, (_, model, _, _) in zip(before, built, strict=True):
        torch.testing.assert_close(list(model.parameters()), old, rtol=0, atol=1e-20)
    trunk = built[1][3].plugins["rnd"].networks.trunk.parameters()
    assert not all(torch.equal(a, b) for a, b in zip(predictor, trunk, strict=True))


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
