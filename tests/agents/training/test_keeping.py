"""What was learned is kept when an environment fails, and goes where it belongs when one changes directory."""

import os
from typing import ClassVar

import gymnasium
import pytest
import torch

import morello
from morello.__main__ import main
from morello.agents.storage import checkpoint
from morello.agents.training.loop import Training
from morello.agents.training.train import train
from morello.envs.counting import Counting
from morello.envs.errors import BrokenEnvironmentError

from ...support.small_run import SMALL, records

CART = {
    "num_envs": 3,
    "unroll": 5,
    "frame_size": None,
    "torso": "auto",
    "memory": "none",
    "checkpoint_every": 10_000,
    "log_every": 60,
}
WORDS = ["train", "a2c", "--num-envs", "3", "--unroll", "5", "--threads", "1", "--log-every", "60"]


class Moody(gymnasium.Wrapper):
    """CartPole that fails where it is told to: at a "step", or an "evaluation", or never ends one; or that goes to
    another directory when it is made, reset or stepped.
    """

    mood: ClassVar[dict[str, object]] = {}
    steps: ClassVar[int] = 0

    def __init__(self, **arguments):
        super().__init__(gymnasium.make("CartPole-v1", max_episode_steps=-1, **arguments))
        self.evaluating = False
        self.wander("made")

    def wander(self, when):
        if when in self.mood.get("wanders", ()):
            os.chdir(self.mood["to"])

    def reset(self, *, seed=None, options=None):
        self.evaluating = self.evaluating or (seed is not None and seed >= 1_000_003)
        if self.evaluating and self.mood.get("evaluation") == "fails":
            raise RuntimeError("no licence for a further instance")
        if self.evaluating and self.mood.get("evaluation") == "interrupts":
            raise KeyboardInterrupt
        self.wander("reset")
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        Moody.steps += 1
        if Moody.steps == self.mood.get("step"):
            raise self.mood.get("raises", RuntimeError)("the simulator has crashed")
        self.wander("step")
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.evaluating and self.mood.get("evaluation") == "endless":
            self.env.reset()
            terminated = truncated = False
        return observation, reward, terminated, truncated, info


gymnasium.register("Moody-v0", entry_point=Moody)


@pytest.fixture
def mood(monkeypatch):
    monkeypatch.setattr(Moody, "steps", 0)
    return lambda **mood: monkeypatch.setattr(Moody, "mood", mood)


def saved(folder):
    return checkpoint.load(folder / "checkpoints")[0]


def test_an_environment_that_fails_leaves_what_was_learned(tmp_path, mood, capsys):
    folder = tmp_path / "run"
    mood(step=250)
    words = [*WORDS, "--env", "gym:Moody-v0", "--steps", "600", "--run", str(folder)]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "the simulator has crashed" in said
    step = saved(folder)
    assert 240 <= step <= 300  # the rollout before, not the last regular checkpoint, which was that of step 0
    assert f"an error ends the run at step {step:,}; to go on: morello train --run {folder} --resume" in said
    mood()
    assert main(["train", "--run", str(folder), "--resume"]) == 0
    assert saved(folder) == 600
    assert [r["step"] for r in records(folder)] == [*range(60, 601, 60)]


def test_a_simulator_that_takes_ctrl_c_for_itself_stops_the_run_as_the_signal_does(tmp_path, mood, capsys):
    folder = tmp_path / "run"
    mood(step=250, raises=KeyboardInterrupt)
    assert main([*WORDS, "--env", "gym:Moody-v0", "--steps", "600", "--run", str(folder)]) == 128 + 2
    said = capsys.readouterr().err
    step = saved(folder)
    assert 240 <= step <= 300
    assert said.startswith(f"stopped by SIGINT at step {step:,}; to go on: ")
    mood(evaluation="interrupts")
    assert main(["train", "--run", str(folder), "--resume", "--eval-every", "300"]) == 128 + 2
    assert checkpoint.load(folder / "checkpoints")[1]["owed"] is not None  # the evaluation is made by who goes on
    mood()
    assert main(["train", "--run", str(folder), "--resume", "--eval-episodes", "4"]) == 0
    assert saved(folder) == 600
    assert all("eval/return" in r for r in records(folder) if r["step"] % 300 == 0)
    mood(evaluation="interrupts")
    assert main(["eval", str(folder)]) == 128 + 2
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, env="gym:Moody-v0", run=str(tmp_path / "again"), steps=300, eval_every=150, **CART)


class Failing(Counting):
    """A resumable environment that fails at a step."""

    left = 1000

    def step(self, action, out=None):
        self.left -= 1
        if not self.left:
            raise RuntimeError("no more")
        return super().step(action, out)


def test_one_that_could_save_its_state_begins_anew_after_failing_in_a_rollout(tmp_path, monkeypatch, capsys):
    config = {"env": "counting:steps", "num_envs": 3, "frame_size": (36, 37), "run": str(tmp_path / "run")}
    training = Training("custom", morello.agents.config.resolve.resolve(config_of(**config)))
    training.parts.env.__class__ = Failing
    training.parts.env.left = 28  # in the sixth rollout of five steps of three
    with pytest.raises(RuntimeError, match="no more"):
        training.run()
    assert saved(tmp_path / "run") == 75
    tree = checkpoint.load(tmp_path / "run" / "checkpoints")[1]
    assert tree["environment"] is None
    train(SMALL, **config, resume=True, steps=150)
    assert "was interrupted in a rollout: it starts new episodes" in capsys.readouterr().err
    assert saved(tmp_path / "run") == 150


@pytest.mark.parametrize("stagger", [False, True])
def test_episodes_that_begin_anew_are_staggered_as_the_first_ones_were(tmp_path, stagger):
    config = {"env": "labyrinth:nav_maze_static_01", "num_envs": 3, "frame_size": (36, 37), "time_limit": 12}
    config = config_of(**config, run=str(tmp_path / "run"), stagger=stagger)
    training = Training("custom", morello.agents.config.resolve.resolve(config))
    training._restore(training._state(anew=True))
    training.folder.close()
    ends = [training.parts.env.step(torch.zeros(3, dtype=torch.int64)).last for _ in range(12)]
    assert torch.stack(ends).int().argmax(0).tolist() == ([11, 7, 3] if stagger else [11, 11, 11])


def config_of(**changes):
    return morello.agents.config.overrides.with_overrides(SMALL, changes)


def test_what_a_listener_raises_leaves_an_exact_checkpoint(tmp_path):
    def hear(record):
        if record["step"] == 480:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        train(SMALL, run=str(tmp_path / "run"), on_record=hear)
    assert saved(tmp_path / "run") == 480
    assert checkpoint.load(tmp_path / "run" / "checkpoints")[1]["environment"] is not None


def test_an_evaluation_that_fails_is_said_and_training_goes_on(tmp_path, mood, capsys):
    mood(evaluation="fails")
    run = train(SMALL, env="gym:Moody-v0", run=str(tmp_path / "run"), steps=300, eval_every=150, **CART)
    said = capsys.readouterr().err
    assert said.count("no evaluation at step 150: ") == said.count("no evaluation at step 300: ") == 1
    assert "no licence for a further instance" in said
    assert sorted(p.name for p in run.checkpoints.glob("step_*")) == ["step_000000000150", "step_000000000300"]
    assert [r["step"] for r in records(run.path)] == [60, 120, 150, 180, 240, 300]
    assert not any("eval/return" in r for r in records(run.path))


def test_an_evaluation_without_end_is_given_up_at_its_limit(tmp_path, mood, capsys):
    mood(evaluation="endless")
    more = {"eval_every": 300, "eval_episodes": 6, "eval_limit": 50, "steps": 300}
    train(SMALL, env="gym:Moody-v0", run=str(tmp_path / "run"), **CART | more)
    assert "only 0 of 6 episodes ended in 100 steps of each environment: raise the limit" in capsys.readouterr().err
    assert saved(tmp_path / "run") == 300


@pytest.mark.parametrize("wanders", ["made", "reset", "step"])
def test_a_run_stays_where_it_began_whatever_environments_do(wanders, tmp_path, mood, monkeypatch):
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    away.mkdir()
    monkeypatch.chdir(home)
    mood(wanders=[wanders], to=away)
    more = {"eval_every": 300, "eval_episodes": 3, "eval_video": wanders == "reset", "steps": 300, "log_every": 150}
    run = train(SMALL, env="gym:Moody-v0", run="r", **CART | more)
    assert os.path.samefile(os.curdir, home)  # where the next run of a loop belongs
    assert run.path == home / "r"
    assert saved(home / "r") == 300
    assert "eval/return" in records(home / "r")[-1]
    assert morello.load("r").step == 300
    assert main(["eval", "r", "--episodes", "2"]) == 0
    assert main(["watch", "r", "--seconds", "0.2", "--out", "film.mp4"]) == 0
    assert {p.name for p in home.iterdir()} == {"r", "film.mp4"}
    assert (home / "r" / "evaluation.json").exists()
    assert not list(away.iterdir())
    assert os.path.samefile(os.curdir, home)


def test_a_broken_environment_is_still_what_it_was(tmp_path, mood):
    mood(step=40)
    with pytest.raises(BrokenEnvironmentError, match="the simulator has crashed"):
        train(SMALL, env="gym:Moody-v0", run=str(tmp_path / "run"), **CART)
