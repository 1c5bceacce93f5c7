"""The log of episodes: the same of rollouts and of single steps, against the law of the counting environments."""

import numpy as np
import pytest
import torch

from morello.agents.actor import Actor
from morello.agents.model import ActorCritic
from morello.benchmarks.learning import episodes
from morello.benchmarks.learning.episodes import EpisodeLog
from morello.benchmarks.throughput.same_step import SameStep
from morello.envs import make

B, T, ROLLOUTS = 5, 3, 11


def total(i, length):
    return sum(100 * (i + 1) + s for s in range(1, length + 1))


def lengths():
    return [3 + (5 * i) % 7 for i in range(B)]


def test_rollouts_are_logged_without_the_rows_that_cross_a_reset():
    env = make("counting:steps", B, frame_size=(36, 37))
    actor = Actor(env, ActorCritic(env.spec, torso="shallow"), T)
    log = EpisodeLog(B)
    log.start()
    for _ in range(ROLLOUTS):
        log.rollout(actor.collect())
        log.updated()
    steps, expected = 0, []
    for n in range(1, T * ROLLOUTS + 1):  # a reset takes a row, which counts as no step
        playing = [i for i in range(B) if n % (lengths()[i] + 1)]
        steps += len(playing)
        ended = [i for i in playing if n % (lengths()[i] + 1) == lengths()[i]]
        expected += [(steps, total(i, lengths()[i])) for i in ended]
    assert len(expected) > 3 * B
    assert log.ended == expected
    assert log.steps == steps < T * ROLLOUTS * B


def test_steps_of_an_environment_that_resets_at_once_are_logged_alike():
    env, log = SameStep(make("counting:steps", B, frame_size=(3, 2))), EpisodeLog(B)
    log.start()
    for _ in range(29):
        _, reward, done, _ = env.step(np.zeros(B, np.int64))
        log.step(reward, done)
    assert log.steps == 29 * B
    expected = [(n * B, total(i, lengths()[i])) for n in range(1, 30) for i in range(B) if n % lengths()[i] == 0]
    assert log.ended == expected


def test_seconds_are_interpolated_by_step_between_updates(monkeypatch):
    now = iter([100.0, 104.0, 105.0, 111.0])
    used = iter([7.0, 8.0, 10.0, 12.5])
    monkeypatch.setattr(episodes.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(episodes.time, "process_time", lambda: next(used))
    told = []
    log = EpisodeLog(2, lambda steps, mean: told.append((steps, mean)))
    log.start()
    log.step(np.array([1.0, 2.0]), np.array([False, False]))
    log.step(np.array([1.0, 2.0]), np.array([False, False]))
    log.updated()  # 4 steps, 4 seconds
    log.step(np.array([1.0, 2.0]), np.array([True, False]))
    log.step(np.array([1.0, 2.0]), np.array([True, True]))
    log.updated()  # 8 steps, 5 seconds: too soon to be told
    log.step(np.array([1.0, 2.0]), np.array([False, True]))
    log.updated()  # 10 steps, 11 seconds
    assert log.result() == {
        "step": [6, 8, 8, 10],
        "seconds": [4.5, 5.0, 5.0, 11.0],
        "return": [3.0, 1.0, 8.0, 2.0],
        "steps": 10,
        "took_seconds": 11.0,
        "took_cpu_seconds": 5.5,
    }
    assert told == [(4, None), (10, 5.0)]  # of as many episodes as there are environments


def test_invalid_steps_add_neither_steps_nor_reward():
    log = EpisodeLog(3)
    log.step(np.array([1.0, np.nan, 4.0]), np.array([False, False, True]), np.array([True, False, True]))
    log.step(np.array([1.0, 2.0, 4.0]), np.array([True, True, False]))
    assert log.ended == [(2, 4.0), (5, 2.0), (5, 2.0)]


def test_the_log_does_not_keep_what_it_is_given():
    reward = torch.ones(2)
    log = EpisodeLog(2)
    log.step(reward.numpy(), np.array([True, False]))
    reward.zero_()
    log.step(reward.numpy(), np.array([False, True]))
    assert [r for _, r in log.ended] == [1.0, pytest.approx(1.0)]
