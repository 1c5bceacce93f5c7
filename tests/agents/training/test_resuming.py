"""Interrupted runs of PPO go on bit for bit, and so do runs of versions that had fewer settings."""

import json

import pytest

import morello
from morello.__main__ import main
from morello.agents.storage import checkpoint
from morello.agents.training.train import train
from morello.envs.errors import UserError

from ...support.forging import forge
from ...support.small_run import records, same, stopped, weights

SHARED = {
    "env": "counting:steps",
    "frame_size": (20, 23),
    "num_envs": 5,
    "unroll": 6,
    "steps": 300,
    "log_every": 60,
    "checkpoint_every": 120,
    "memory": "lstm",
    "memory_size": 12,
    "dtype": "float32",
    "threads": 1,
    "quiet": True,
}
PPO = SHARED | {
    "settings": "ppo",
    "epochs": 2,
    "minibatches": 2,
    "target_kl": 0.5,
    "learning_rate": 2e-3,
    "advantage": "running",
}
A2C = SHARED | {"settings": "a2c", "aux": {"value_replay": 0.5}, "checkpoint_replay": True, "lambda_": 0.9}
NEW = ("optimizer", "epochs", "minibatches", "segment", "clip", "advantage", "value_clip", "target_kl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(run=str(folder), **PPO)
    return folder


def without_generator(folder):
    """Leaves what earlier versions lacked out of all checkpoints: generator of minibatches, size of advantages."""
    newest = json.loads((folder / "checkpoints" / "latest.json").read_text())
    for path in sorted((folder / "checkpoints").glob("step_*")):
        latest = json.loads((path / "manifest.json").read_text()) == newest
        tree = json.loads((path / "tree.json").read_text())
        learner = dict(tree["tree"]["dict"])["learner"]
        kept = [pair for pair in learner["dict"] if pair[0] not in ("generator", "advantages")]
        assert len(kept) == len(learner["dict"]) - 2
        learner["dict"] = kept
        forge(path, "tree.json", json.dumps(tree).encode())
        if latest:
            (folder / "checkpoints" / "latest.json").write_bytes((path / "manifest.json").read_bytes())
    assert "generator" not in checkpoint.load(folder / "checkpoints")[1]["learner"]


def test_an_interrupted_run_is_the_uninterrupted_one_bit_for_bit(whole, tmp_path):
    stopped(tmp_path / "run", PPO)
    assert checkpoint.load(tmp_path / "run" / "checkpoints")[0] < 300
    assert not same(weights(tmp_path / "run"), weights(whole))
    train(run=str(tmp_path / "run"), resume=True, **PPO)
    assert records(tmp_path / "run") == records(whole)
    assert same(weights(tmp_path / "run"), weights(whole))
    assert len(weights(whole)["generator"]) > 16


def test_a_checkpoint_without_a_generator_goes_on_with_other_minibatches(whole, tmp_path):
    stopped(tmp_path / "run", PPO)
    without_generator(tmp_path / "run")
    train(run=str(tmp_path / "run"), resume=True, **PPO)
    assert weights(tmp_path / "run")["steps"] == 300
    assert not same(weights(tmp_path / "run")["model"], weights(whole)["model"])  # the control of the test above


@pytest.mark.parametrize("part", ["generator", "advantages"])
@pytest.mark.parametrize("value", [1, "x", {"dict": []}])
def test_what_is_no_generator_or_size_of_advantages_is_refused_in_a_sentence(tmp_path, capsys, part, value):
    stopped(tmp_path / "run", PPO, at=60)
    newest = max((tmp_path / "run" / "checkpoints").glob("step_*"))
    tree = json.loads((newest / "tree.json").read_text())
    learner = dict(tree["tree"]["dict"])["learner"]
    next(pair for pair in learner["dict"] if pair[0] == part)[1] = value
    forge(newest, "tree.json", json.dumps(tree).encode())
    (tmp_path / "run" / "checkpoints" / "latest.json").write_bytes((newest / "manifest.json").read_bytes())
    capsys.readouterr()
    assert main(["train", "--run", str(tmp_path / "run"), "--resume", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "cannot go on" in said
    assert said.count("\n") == 1


def aged(folder):
    """Makes a run folder what the version before PPO left."""
    without_generator(folder)
    config = json.loads((folder / "config.json").read_text())
    learner, replay = config["learner"], config["replay"]
    for name in NEW:
        del learner[name]
    for part in (learner, config["aux"]["value_replay"]):
        part["vtrace_lambda"] = part.pop("lambda_")
    del replay["every"], replay["policy"]
    (folder / "config.json").write_text(json.dumps(config))


def test_a_run_of_an_earlier_version_goes_on_bit_for_bit(tmp_path, capsys):
    train(run=str(tmp_path / "whole"), **A2C)
    stopped(tmp_path / "run", A2C)
    aged(tmp_path / "run")
    before = json.loads((tmp_path / "run" / "config.json").read_text())
    assert main(["train", "--run", str(tmp_path / "run"), "--resume"]) == 0
    capsys.readouterr()
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    mine, its = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert same({k: v for k, v in mine.items() if k != "generator"}, {k: v for k, v in its.items() if k != "generator"})
    after = json.loads((tmp_path / "run" / "config.json").read_text())
    assert after["learner"] == before["learner"]
    assert main(["train", "--run", str(tmp_path / "run"), "--resume", "--steps", "360", "--quiet"]) == 0  # and again
    for changes, said in (({"lambda_": 0.8}, "begun with lambda_? = 0.9, not 0.8"), ({"epochs": 2}, "epochs = 1")):
        with pytest.raises(UserError, match=said):
            train(run=str(tmp_path / "run"), resume=True, **A2C | changes)


def test_a_run_of_an_earlier_version_is_evaluated(tmp_path, capsys):
    train(run=str(tmp_path / "run"), **A2C)
    aged(tmp_path / "run")
    agent = morello.load(tmp_path / "run")
    assert agent.model.num_actions == 3
    assert main(["eval", str(tmp_path / "run"), "--episodes", "3"]) == 0
    assert "agent" in capsys.readouterr().out
