"""A throughput benchmark of the smallest size."""

import os
import sys

import pytest

from morello.agents.config.config import Config
from morello.agents.config.resolve import resolve
from morello.benchmarks.throughput import peers

T, B = 2, 3

ENV = "labyrinth:seekavoid_arena_01"

TINY = f"--env {ENV} --num-envs {B} --unroll {T} --frame-size 36 37 --torso shallow --seconds 0.001".split()

THREADS = min(2, os.cpu_count())


@pytest.fixture
def no_peers(monkeypatch):
    for name in peers.PEERS:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def config():
    return resolve(
        Config(
            env=ENV, num_envs=B, unroll=T, frame_size=(36, 37), torso="shallow", device="cpu", threads=1, steps=10**6
        )
    )
