"""Peers: what is measured of them, and that a missing one is no failure."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from morello.benchmarks.throughput import peers
from morello.benchmarks.throughput.same_step import SameStep
from morello.envs import make

from ...support.throughput import B, T
from ...support.throughput import config as config  # a fixture


def test_same_step_resets_as_stable_baselines3_does():
    """Against the counting environments, one at a time, in plain Python."""
    B, H, W = 5, 3, 2
    env = SameStep(make("counting:steps", B, frame_size=(H, W)))
    length = [3 + (5 * i) % 7 for i in range(B)]
    episode, step = [0] * B, [0] * B

    def picture(i, e, s):
        return np.broadcast_to(np.array([i, e, s], np.uint8), (H, W, 3))

    previous = env.reset(seed=11)
    expected = np.stack([picture(i, 0, 0) for i in range(B)])
    assert np.array_equal(previous, expected)
    endings = 0
    for n in range(23):
        kept = expected
        image, reward, done, infos = env.step(np.full(B, n % 3))
        assert np.array_equal(previous, kept)  # the observation before the step outlives it
        rows = []
        for i in range(B):
            step[i] += 1
            assert reward[i] == 100 * (i + 1) + step[i]
            ended = step[i] == length[i]
            assert bool(done[i]) == ended
            if ended:
                endings += 1
                assert infos[i].keys() == {"terminal_observation", "TimeLimit.truncated"}
                assert np.array_equal(infos[i]["terminal_observation"], picture(i, episode[i], step[i]))
                assert infos[i]["TimeLimit.truncated"] == (i % 2 == 1)
                episode[i], step[i] = episode[i] + 1, 0
            else:
                assert infos[i] == {}
            rows.append(picture(i, episode[i], step[i]))
        expected = np.stack(rows)
        assert np.array_equal(image, expected)
        previous = image
    assert endings > B
    assert reward.dtype == np.float32
    assert done.dtype == np.bool_


def test_miniworld_without_opengl_names_what_to_install(monkeypatch, config):
    def make_without_opengl(*arguments, **options):
        raise ImportError('Library "EGL" not found.')

    for name in ("miniworld", "pyglet"):
        module = ModuleType(name)
        module.__spec__ = SimpleNamespace(name=name)
        module.options = {}
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("gymnasium.make", make_without_opengl)
    with pytest.raises(peers.UnavailableError, match=r'Library "EGL" not found.*apt-get install .*libegl1'):
        peers.miniworld(config)


def test_stable_baselines3_learns_through_our_batch(config):
    pytest.importorskip("stable_baselines3")
    with pytest.raises(peers.UnavailableError, match="Nature CNN"):
        peers.stable_baselines3(config)
    part = peers.stable_baselines3(replace(config, torso="nature", num_envs=B))
    assert part.steps == T * B
    seen = []
    inner = SameStep.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SameStep, "step", lambda self, a: (seen.append(a.shape), inner(self, a))[1])
        part.run(1)
        part.run(5)
    assert seen == [(B,)] * (6 * T)
