"""Training as a person runs it: the folder it leaves, resuming, signals, full disks and refusals."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

import morello
from morello.__main__ import main
from morello.agents.config.presets import PRESETS
from morello.agents.config.resolve import resolve
from morello.agents.finite import NonFiniteError
from morello.agents.learner_config import LearnerConfig
from morello.agents.storage import checkpoint
from morello.agents.training.loop import Training
from morello.agents.training.train import train
from morello.auxiliaries import INTRINSIC_REWARDS, AuxiliaryLoss
from morello.envs.errors import UserError

from ...support.plugins import weighed
from ...support.small_run import SMALL, records, same, weights

FLAGS = [
    "--env",
    "labyrinth:seekavoid_arena_01",
    "--steps",
    "2000",
    "--num-envs",
    "4",
    "--unroll",
    "5",
    "--frame-size",
    "36",
    "36",
    "--torso",
    "shallow",
    "--memory",
    "lstm",
    "--memory-size",
    "16",
    "--log-every",
    "240",
    "--checkpoint-every",
    "300",
    "--threads",
    "1",
    "--quiet",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(SMALL, preset="a2c", run=str(folder))
    return folder


def test_a_preset_is_given_first():
    with pytest.raises(UserError, match="a preset is given first"):
        train(preset="ppo", env="labyrinth:nine_rooms")


def test_a_run_leaves_its_folder(whole):
    assert {p.name for p in whole.iterdir()} >= {"config.json", "provenance.json", "metrics.jsonl", "tensorboard"}
    found = records(whole)
    assert [r["step"] for r in found] == sorted({r["step"] for r in found})
    assert found[-1]["step"] == found[-1]["updates"] * 20 == 2000
    assert found[-1]["frames"] == 8000
    assert found[-1]["learning_rate"] == 0
    assert sum(r["episodes"] for r in found) == 4 * (2000 // 4 // 301)
    config = json.loads((whole / "config.json").read_text())
    assert (config["preset"], config["env"], config["learner"]["gamma"]) == ("a2c", SMALL.env, 0.99)
    assert sorted(p.name for p in (whole / "checkpoints").glob("step_*")) == ["step_000000001800", "step_000000002000"]


def command(folder, *more):
    return [sys.executable, "-m", "morello", "train", "a2c", *FLAGS, "--run", str(folder), *more]


CURIOUS = {"ngu": 0.3, "e3b": 0.1, "rnd": 0.2}


@pytest.mark.parametrize("rewards", [{}, CURIOUS], ids=["plain", "curious"])
def test_kill_9_and_resume_is_the_uninterrupted_run_bit_for_bit(whole, tmp_path, rewards):
    folder, kills, chance = tmp_path / "run", 0, random.Random(time.time_ns())
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    flags = [word for name in rewards for word in (f"--intrinsic.{name.replace('_', '-')}.weight", str(rewards[name]))]
    flags += ["--intrinsic.rnd.warmup-steps", "300", "--intrinsic.ngu.warmup-steps", "0"] if rewards else []
    if rewards:
        whole = tmp_path / "whole"
        assert subprocess.run(command(whole, *flags), env=env, check=False).returncode == 0
    for _ in range(20):
        process = subprocess.Popen(command(folder, "--resume", *flags), env=env)
        if kills < 3:
            # Any moment from the first checkpoint on; the metrics grow while it trains.
            size = (folder / "metrics.jsonl").stat().st_size if (folder / "metrics.jsonl").exists() else 0
            while process.poll() is None and not (
                (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size > size
            ):
                time.sleep(0.01)
            time.sleep(chance.random())
            process.kill()
            kills += 1
        if process.wait() == 0:
            break
    assert records(folder) == records(whole)
    assert same(weights(folder), weights(whole))


def test_sigterm_checkpoints_and_resuming_gives_the_same_run(whole, tmp_path):
    folder, seen = tmp_path / "run", []

    def stop(record):
        seen.append(record["step"])
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit, match="143"):
        train(SMALL, preset="a2c", run=str(folder), on_record=stop)
    stopped = checkpoint.load(folder / "checkpoints")[0]
    assert stopped == seen[-1] < 2000
    train(SMALL, preset="a2c", run=str(folder), resume=True)
    assert records(folder) == records(whole)
    assert same(weights(folder), weights(whole))


def test_another_seed_is_another_run(whole, tmp_path):
    train(SMALL, seed=1, steps=400, run=str(tmp_path / "run"))
    assert records(tmp_path / "run")[0]["entropy"] != records(whole)[0]["entropy"]


def test_evaluating_during_training_does_not_disturb_it(whole, tmp_path):
    train(SMALL, run=str(tmp_path / "run"), eval_every=2000, eval_episodes=4, eval_video=True)
    assert same(weights(tmp_path / "run")["model"], weights(whole)["model"])
    evaluated = [r for r in records(tmp_path / "run") if "eval/return" in r]
    assert [r["step"] for r in evaluated] == [2000]
    assert evaluated[-1]["eval/low"] <= evaluated[-1]["eval/return"] <= evaluated[-1]["eval/high"]


def test_resume_with_other_settings_is_refused_by_name(whole):
    with pytest.raises(UserError, match="begun with num_envs = 4, not 8"):
        train(SMALL, preset="a2c", run=str(whole), resume=True, num_envs=8)
    with pytest.raises(UserError, match=r"begun with gamma = 0\.99, not 0\.5: "):
        train(SMALL, preset="a2c", run=str(whole), resume=True, gamma=0.5)
    with pytest.raises(UserError, match="begun with frame_size = 36 36, not 36 40: "):
        train(SMALL, preset="a2c", run=str(whole), resume=True, frame_size=(36, 40))
    with pytest.raises(UserError, match=r"begun without aux\.pixel_control: "):
        train(SMALL, preset="a2c", run=str(whole), resume=True, aux={"pixel_control": 0.5})


def test_a_folder_that_holds_a_run_is_not_overwritten(whole):
    before = (whole / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="--resume"):
        train(SMALL, run=str(whole))
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_resume_on_an_empty_folder_starts(tmp_path):
    train(SMALL, run=str(tmp_path / "run"), resume=True, steps=40)
    assert records(tmp_path / "run")[-1]["step"] == 40


def test_a_longer_budget_goes_on_from_a_finished_run(tmp_path):
    train(SMALL, run=str(tmp_path / "run"), steps=400)
    train(SMALL, run=str(tmp_path / "run"), steps=600, resume=True)
    assert [r["step"] for r in records(tmp_path / "run")] == [240, 400, 480, 600]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 600


def test_a_finished_run_says_so_and_how_to_train_longer(tmp_path, capsys):
    folder = tmp_path / "a run"
    train(SMALL, run=str(folder), steps=400)
    before = (folder / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    train(SMALL, run=str(folder), steps=400, resume=True, quiet=False)
    assert "is finished, with 400 steps; to train longer: " in (said := capsys.readouterr().out)
    assert f"morello train --run '{folder}' --resume --steps 800" in said
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_budget_below_what_was_made_is_refused_and_changes_nothing(tmp_path):
    train(SMALL, run=str(tmp_path / "run"), steps=400)
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(UserError, match="has made 400 steps already: leave --steps 50 out"):
        train(SMALL, run=str(tmp_path / "run"), steps=50, resume=True)
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_a_full_disk_costs_checkpoints_and_says_so_but_not_the_training(tmp_path, monkeypatch, capsys):
    real = checkpoint.save

    def full(folder, step, tree, keep, **more):
        if step >= 300:
            raise checkpoint.CheckpointNotWritten("No space left on device")
        return real(folder, step, tree, keep, **more)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(checkpoint.CheckpointNotWritten, match="No space left"):
        train(SMALL, run=str(tmp_path / "run"), steps=1000)
    assert records(tmp_path / "run")[-1]["step"] == 1000
    assert "No space left" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "run" / "checkpoints")[0] == 0


def test_without_room_for_the_first_checkpoint_training_does_not_begin(tmp_path, monkeypatch, capsys):
    def full(folder, step, *_, **__):
        raise checkpoint.CheckpointNotWritten(f"checkpoint of step {step} not written: No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    assert main([*command(tmp_path / "run")[3:]]) == 1
    said = capsys.readouterr().err
    assert said == (
        "morello: checkpoint of step 0 not written: No space left on device; training does not begin without it\n"
    )
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_the_last_checkpoint_of_a_run_may_take_the_room_of_older_ones(tmp_path, monkeypatch):
    asked = []
    real = checkpoint.save

    def spy(folder, step, tree, keep, **more):
        asked.append((step, more["last"]))
        return real(folder, step, tree, keep, **more)

    monkeypatch.setattr(checkpoint, "save", spy)
    train(SMALL, run=str(tmp_path / "run"), steps=400)
    assert asked == [(0, False), (300, False), (400, True)]


def test_divergence_stops_and_leaves_the_last_good_checkpoint(tmp_path):
    with pytest.raises(NonFiniteError, match="non-finite"):
        train(SMALL, run=str(tmp_path / "run"), learning_rate=1e38, max_grad_norm=1e38)
    assert all(torch.isfinite(x).all() for x in weights(tmp_path / "run")["model"].values())


def test_non_finite_weights_are_not_kept(tmp_path):
    training = Training("custom", resolve(replace(SMALL, run=str(tmp_path / "run"))))
    with training.folder:
        assert training._checkpoint(Mute()) is None
        training.parts.model.policy.weight.data[0, 0] = torch.nan
        training.parts.learner.steps = 20
        with pytest.raises(NonFiniteError, match=r"policy\.weight.* by step 20"):
            training._checkpoint(Mute())
    assert checkpoint.load(tmp_path / "run" / "checkpoints")[0] == 0


class Mute:
    def message(self, text, warning=False):
        pass


def test_evaluations_come_between_records_too(tmp_path):
    train(SMALL, run=str(tmp_path / "run"), steps=600, eval_every=100, eval_episodes=4)
    assert [r["step"] for r in records(tmp_path / "run") if "eval/return" in r] == [100, 200, 300, 400, 500, 600]


class Nothing(AuxiliaryLoss):
    def __init__(self):
        super().__init__(self.Config())

    def forward(self, rollout, features):
        return rollout.reward * 0, rollout.valid


def test_plugins_are_part_of_what_a_run_is(tmp_path):
    begun = {"run": str(tmp_path / "run"), "plugins": {"nothing": weighed(Nothing(), 0.5)}}
    train(SMALL, steps=100, **begun)
    train(SMALL, steps=200, resume=True, **begun)
    for other in ({}, {"nothing": weighed(Nothing(), 0.6)}, {"naught": weighed(Nothing(), 0.5)}):
        with pytest.raises(UserError, match=r"was begun with(out)? plugins\."):
            train(SMALL, steps=300, resume=True, **{**begun, "plugins": other})


def test_a_perceptron_is_not_for_images(tmp_path):
    with pytest.raises(UserError, match="--torso mlp does not fit labyrinth:seekavoid_arena_01"):
        train(SMALL, run=str(tmp_path / "run"), torso="mlp")


def test_a_trained_agent_is_loaded_and_acts(whole):
    agent = morello.load(whole)
    env = morello.make(SMALL.env, num_envs=3, frame_size=(36, 36), seed=5)
    timestep, state = env.reset(), agent.initial_state(3)
    for _ in range(4):
        action, state = agent.act(timestep.observation, state, timestep.first)
        timestep = env.step(action)
    assert action.shape == (3,)


def test_runs_are_read_as_columns(whole):
    table = morello.read_runs(str(whole.parent / "*"))
    assert table["step"].tolist() == [r["step"] for r in records(whole)]
    assert set(table["preset"]) == {"a2c"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"env": ""}, "--env"),
        ({"env": "labyrint:x"}, "labyrinth"),
        ({"env": "labyrinth:seekavoid_arena_1"}, "seekavoid_arena_01"),
        ({"steps": 0}, "--steps must be at least 1"),
        ({"device": "cud"}, "cuda"),
        ({"device": "cuda:7"}, "CUDA devices"),
        ({"threads": 4096}, "--threads"),
        ({"frame_size": (8, 8)}, "8x8"),
        ({"gama": 0.9}, "gamma"),
        ({"resume": True}, "--run"),
    ],
)
def test_bad_settings_are_one_sentence_with_the_way_out(changes, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        train(SMALL, **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_unknown_preset():
    with pytest.raises(UserError, match="a2c-lstm"):
        train("a2c-lsmt", env=SMALL.env)


def test_every_preset_builds_and_updates_once(tmp_path):
    for name, preset in PRESETS.items():
        small = {"env": SMALL.env, "steps": 40, "num_envs": 4, "unroll": 5, "threads": 1, "memory_size": 16}
        parts = min(preset.config.learner.minibatches, small["num_envs"])
        train(preset, preset=name, run=str(tmp_path / name), quiet=True, minibatches=parts, **small)


def test_timeouts_may_terminate(tmp_path):
    run = train(SMALL, run=str(tmp_path / "run"), steps=40, timeout_terminates=True)
    assert LearnerConfig(**run.config["learner"]).timeout_terminates


@pytest.mark.parametrize(("warmup", "said"), [(64, True), (49, True), (48, False)])
def test_a_reward_that_warms_up_throughout_is_said(tmp_path, capsys, warmup, said):
    reward = INTRINSIC_REWARDS["noise"].Config(weight=1.0, warmup_steps=warmup)
    small = {"num_envs": 2, "unroll": 8, "steps": 64, "threads": 1, "quiet": True}
    train(env="counting:steps", run=str(tmp_path / "run"), intrinsic={"noise": reward}, **small)
    shown = capsys.readouterr().err
    note = (
        f"'noise' is 0 throughout: it warms up for {warmup} steps, and the run has 64 (--intrinsic.noise.warmup-steps)"
    )
    assert (note in " ".join(shown.split())) == said
