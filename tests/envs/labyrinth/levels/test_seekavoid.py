"""Seekavoid: what it pays and takes away, and when it restarts."""

import math
from collections import Counter

import pytest
import torch

from morello.envs.labyrinth.kernels.items import KINDS

from ....support.levels import labyrinth, put, wait


def test_seekavoid_pays_takes_away_and_restarts() -> None:
    env = labyrinth("seekavoid_arena_01")
    names = [KINDS[k].name for k in env.world.item_kind[0].tolist()]
    assert Counter(names) == {"apple": 15, "lemon": 8}
    places = env.world.item_position[0].clone()
    gaps = torch.cdist(places, places) + 1e4 * torch.eye(23)
    assert gaps.min() >= 50
    assert gaps.min(1).values.max() <= 130
    assert env.world.position[0].tolist() == [450, 95]
    assert env.world.heading[0] == pytest.approx(math.pi / 2)
    total = 0.0
    for n, (name, place) in enumerate(zip(names, places, strict=True)):
        if name == "lemon":
            continue
        put(env, place + 20)
        now = wait(env)
        assert now.reward[0] == 1
        total += 1
        assert now.discount[0] == 1
        assert not now.last[0]
        if total < 15:
            assert env.world.item_kind[0, n] == 0
            put(env, place)
            assert wait(env).reward[0] == 0  # it is gone
    assert env.world.restarts[0] == 1
    assert [KINDS[k].name for k in env.world.item_kind[0].tolist()] == names  # all back
    assert env.world.position[0].tolist() == [450, 95]
    lemon = places[names.index("lemon")]
    put(env, lemon + torch.tensor([0.0, 31.0]))
    assert wait(env).reward[0] == 0  # out of reach
    put(env, lemon + torch.tensor([0.0, 29.0]))
    assert wait(env).reward[0] == -1
    assert env.world.tick[0] == 4 * (15 + 14 + 2)
