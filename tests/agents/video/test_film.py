"""Watching: the steps are those that were played, and the film is whole or not there."""

import dataclasses
import os
import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import torch

import morello
from morello.agents.evaluation.environments import environment_for
from morello.agents.evaluation.policies import agent_policy, random_policy
from morello.agents.model import ActorCritic
from morello.agents.storage import checkpoint
from morello.agents.storage.config_file import CHECKPOINTS
from morello.agents.storage.run_folder import Run
from morello.agents.video.command import WatchFlags, watch_run
from morello.agents.video.encode import FPS, write_video
from morello.agents.video.film import clip, enlarged, frames, moments, watch
from morello.agents.video.frame import VIEW
from morello.envs import FAMILIES, Family, options_of
from morello.envs.errors import UserError
from morello.envs.vector_env import VectorEnv

from ...support import gymnasium_worlds  # noqa: F401, registers Faulty-v0
from ...support.video import read


def counting(**options):
    """Episodes of 4 steps, environment 3's."""
    return morello.make("counting:steps", 1, env_offset=3, **options)


def counting_model(env, **options):
    torch.manual_seed(0)
    return ActorCritic(env.spec, torso="shallow", memory_size=7, **options)


def test_moments_are_the_steps_of_whole_episodes():
    env = counting()
    played = list(moments(random_policy(env.spec), env, episodes=2))
    assert [m.step for m in played] == [0, 1, 2, 3, 4] * 2
    assert [m.episode for m in played] == [0] * 5 + [1] * 5
    assert [m.reward for m in played] == [0, 401, 402, 403, 404] * 2
    assert [m.episode_return for m in played] == [0, 401, 803, 1206, 1610] * 2
    assert [m.last for m in played] == [False] * 4 + [True] + [False] * 4 + [True]
    assert all((m.action is None) == m.last for m in played)
    assert [m.vector[3] for m in played] == [m.step for m in played]  # what was seen then, not what is there now
    assert [m.image[0, 0, 2] for m in played] == [m.step for m in played]
    assert played[3].map is None
    assert played[3].value is None


def test_moments_by_the_step_cross_resets():
    env = counting()
    played = list(moments(random_policy(env.spec), env, steps=13))
    assert [m.step for m in played] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2]


def test_episodes_without_end_are_cut_short_and_it_is_said(monkeypatch, capsys):
    monkeypatch.setattr("morello.agents.video.film.EVAL_LIMIT", 5)
    env = counting()  # five observations an episode, and it says so
    assert len(list(moments(random_policy(env.spec), env, episodes=3))) == 15
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("morello.agents.video.film.EVAL_LIMIT", 3)
    env.spec = env.spec._replace(max_steps=None)
    played = list(moments(random_policy(env.spec), env, episodes=2))
    assert [m.step for m in played] == [0, 1, 2, 3, 4, 0]
    said = "only 1 of 2 episodes ended in 6 steps, and the video ends there: set its length with --seconds"
    assert capsys.readouterr().err == f"warning: {said}\n"
    assert len(list(moments(random_policy(env.spec), env, steps=20))) == 20


def test_an_agent_shows_what_it_expects_and_does():
    env = counting(frame_size=(41, 43))
    policy = agent_policy(counting_model(env, streams=("extrinsic", "bonus")), 1, greedy=True)
    for m in moments(policy, env, steps=9):
        logits = policy.output.logits[0, 0]
        np.testing.assert_allclose(m.probabilities, torch.softmax(logits, -1).numpy(), rtol=1e-6)
        assert m.value == float(policy.output.value["extrinsic"][0, 0])
        assert m.action is None or m.action == int(logits.argmax())


def test_larger_images_are_of_the_same_world():
    env = morello.make("labyrinth:seekavoid_arena_01", 1, seed=5, frame_size=(46, 46))
    large = enlarged(env, "labyrinth:seekavoid_arena_01", seed=5)
    assert large.spec.observation["image"][0] == (460, 460, 3)
    played = list(moments(random_policy(env.spec, seed=1), env, large, steps=13))
    for m in played[::6]:
        shrunk = m.view.reshape(46, 10, 46, 10, 3).mean((1, 3))
        here, there = (np.abs(shrunk - other).mean() for other in (m.image, m.image[:, ::-1]))
        assert here < 12
        assert here < 0.6 * there
        assert m.map.shape == (200, 200, 3)
    assert (played[0].map != played[12].map).any()
    elsewhere = morello.make("labyrinth:seekavoid_arena_01", 1, seed=6, frame_size=(46, 46))
    with pytest.raises(RuntimeError, match="went another way"):
        list(moments(random_policy(env.spec, seed=1), env, Late(elsewhere), steps=300))


class Late(VectorEnv):
    """Pays what another environment does, and 1 more."""

    def __init__(self, env):
        self.env = env

    def reset(self, seed=None, mask=None):
        return self.env.reset(seed, mask)

    def step(self, action, out=None):
        timestep = self.env.step(action)
        return timestep._replace(reward=timestep.reward + 1)


def test_only_what_can_be_is_enlarged(monkeypatch):
    env = counting()
    assert enlarged(env, "counting:steps", 0).spec.observation["image"][0] == (329, 460, 3)
    by_chance = counting()
    by_chance.spec = env.spec._replace(resumable=False)
    assert enlarged(by_chance, "counting:steps", 0) is None
    monkeypatch.setitem(FAMILIES, "fixed", Family("", lambda *_: counting(), lambda: iter(())))
    assert enlarged(env, "fixed:size", 0) is None


class Painter(VectorEnv):
    """Another environment, and a picture for people of its last answer."""

    def __init__(self, env):
        self.env, self.spec, self.num_envs = env, env.spec, env.num_envs

    def reset(self, seed=None, mask=None):
        self.now = self.env.reset()
        return self.now

    def step(self, action, out=None):
        self.now = self.env.step(action)
        return self.now

    def render(self):
        step = int(self.now.observation["vector"][0, 3])
        return None if step == 2 else np.full((5, 7, 3), 10 * step, np.uint8)


def test_the_picture_for_people_is_the_large_view():
    env = Painter(counting())
    played = list(moments(random_policy(env.spec), env, steps=5))
    assert [None if m.view is None else int(m.view[0, 0, 0]) for m in played] == [0, 10, None, 30, 40]
    played = list(moments(random_policy(env.spec), env, counting(frame_size=(46, 46)), steps=5))
    assert all(m.view.shape == (46, 46, 3) for m in played)  # better still, what the agent sees
    assert moments(random_policy(env.spec), counting(), steps=1).__next__().view is None


def gym_run(path, name):
    """A run folder with an untrained agent."""
    env = morello.make(f"gym:{name}", 1)
    torch.manual_seed(0)
    model = ActorCritic(env.spec, memory_size=7)
    config = {"env": f"gym:{name}", "preset": "a2c", "seed": 0, "memory": "none", "memory_size": 7, "dtype": "float32"}
    with Run.create(path, config, env.spec) as run:
        checkpoint.save(run.path / CHECKPOINTS, 7, {"learner": {"model": model.state_dict()}}, keep=1)
    return run.path


def test_watch_asks_for_pictures_where_the_family_has_them(tmp_path):
    run = gym_run(tmp_path / "run", "CartPole-v1")
    pytest.importorskip("pygame", reason="CartPole draws with pygame, which Gymnasium does not install by itself")
    _, shown = read(watch(run, seconds=0.2, device="cpu"), 540, 960)
    view = shown[1, VIEW[1] : VIEW[3], VIEW[0] : VIEW[2]]
    assert (view > 240).all(-1).mean() > 0.5  # CartPole is played on white
    agent = morello.load(run)
    assert environment_for(agent, render=True)._drawn
    assert not environment_for(agent)._drawn
    assert options_of("labyrinth:x").count("render") == 0


def test_what_has_no_picture_is_filmed_all_the_same(tmp_path):
    run = gym_run(tmp_path / "run", "Faulty-v0")
    with pytest.warns(RuntimeWarning, match="Faulty-v0 has no picture for people"):
        film = watch(run, seconds=0.1, device="cpu")
    assert len(read(film, 540, 960)[1]) == 2


def test_the_last_frame_of_an_episode_stays_to_be_read():
    env = counting()
    shown = list(frames(random_policy(env.spec), env, episodes=2))
    assert len(shown) == 2 * (4 + FPS)
    assert all(np.array_equal(shown[4], frame) for frame in shown[4 : 4 + FPS])
    assert not np.array_equal(shown[3], shown[4])


def test_clips_are_short_and_small():
    env = counting(frame_size=(41, 43))
    film = clip(counting_model(env), env, length=6, every=3)
    assert film.shape == (6, 270, 480, 3)
    assert film.dtype == np.uint8


def pictures(n=23):
    """A bright bar that moves."""
    for i in range(n):
        picture = np.zeros((54, 96, 3), np.uint8)
        picture[:, 4 * i : 4 * i + 8] = (250, 120, 20)
        yield picture


def test_films_have_every_picture_and_play_everywhere(tmp_path):
    path = tmp_path / "some where" / "film.mp4"
    write_video(pictures(), path)
    about, back = read(path, 54, 96)
    assert re.search(r"Video: h264.* yuv420p\(progressive\), 96x54.* 15 fps", about)
    assert len(back) == 23
    for made, shown in zip(pictures(), back, strict=True):
        assert np.abs(made.astype(int) - shown).mean() < 8
    assert os.listdir(path.parent) == ["film.mp4"]


def test_a_film_is_whole_or_not_there(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the film before")

    def broken():
        yield from pictures(9)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_video(broken(), path)
    assert path.read_bytes() == b"the film before"
    assert os.listdir(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize("ffmpeg", ["/bin/false", "/no/such/ffmpeg"])
def test_an_ffmpeg_that_fails_is_one_sentence(tmp_path, monkeypatch, ffmpeg):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", ffmpeg)
    with pytest.raises(UserError, match=r"film.mp4"):
        write_video(pictures(200), tmp_path / "film.mp4")
    assert os.listdir(tmp_path) == []


def test_no_ffmpeg_is_one_sentence(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(UserError, match="no ffmpeg to make a film with: install it"):
        write_video(pictures(), tmp_path / "film.mp4")


def test_ffmpeg_says_why(tmp_path):
    odd = (np.zeros((53, 96, 3), np.uint8) for _ in range(3))
    with pytest.raises(UserError, match=r"ffmpeg could not write .*height not divisible by 2"):
        write_video(odd, tmp_path / "film.mp4")


def test_watch_films_the_agent_of_a_run(tmp_path, capsys):
    env = counting(frame_size=(41, 43))
    model = counting_model(env)
    config = {
        "env": "counting:steps",
        "preset": "a2c",
        "seed": 0,
        "torso": "shallow",
        "memory": "none",
        "memory_size": 7,
        "frame_size": [41, 43],
        "dtype": "float32",
    }
    with Run.create(tmp_path / "run", config, env.spec) as run:
        checkpoint.save(run.path / CHECKPOINTS, 1234, {"learner": {"model": model.state_dict()}}, keep=1)
    flags = WatchFlags(str(run.path), seconds=0.4, device="cpu")
    assert watch_run(flags) == 0
    path = run.path / "videos" / "1234.mp4"
    assert capsys.readouterr().out.strip() == str(path)
    _, shown = read(path, 540, 960)
    assert len(shown) == 5 + FPS  # six steps, of which the fourth ends an episode and stays
    with pytest.raises(UserError, match="something to film"):
        watch(**dataclasses.asdict(dataclasses.replace(flags, episodes=0)))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_film_has_an_end(tmp_path, seconds):
    with pytest.raises(UserError, match="an end to it"):
        watch(tmp_path, seconds=seconds)


def test_a_seed_has_a_range(tmp_path):
    with pytest.raises(UserError, match="--seed"):
        watch(tmp_path, seed=2**63)


@pytest.mark.parametrize("name", ["file/film.mp4", "x" * 300 + ".mp4"])
def test_a_film_that_can_lie_nowhere_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    pictures = iter([np.zeros((16, 16, 3), np.uint8)])
    with pytest.raises(UserError, match=r"could not be written|could not write"):
        write_video(pictures, tmp_path / name)


def test_ctrl_c_while_ffmpeg_starts_leaves_no_file(tmp_path, monkeypatch):
    started, begin = [], subprocess.Popen

    def interrupted(*arguments, **options):
        started.append(begin(*arguments, **options))
        raise KeyboardInterrupt  # nobody knows of it yet; its input is closed

    imageio_ffmpeg.get_ffmpeg_exe()  # tries it once
    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_video([np.zeros((16, 16, 3), np.uint8)] * 3, tmp_path / "film.mp4")
    with started[0] as late:
        late.communicate(bytes(16 * 16 * 3))
    assert list(tmp_path.iterdir()) == []
