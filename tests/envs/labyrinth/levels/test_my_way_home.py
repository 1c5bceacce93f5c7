"""My way home: its map, its starts, and what ends it."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from morello.envs.labyrinth.level import DOOM
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.levels.my_way_home import DENSE_STARTS, VEST
from morello.envs.labyrinth.maps import plan

from ....support.levels import distances, labyrinth, put, wait


def test_the_vest_ends_my_way_home() -> None:
    env = labyrinth("my_way_home_dense", 400)
    vest = env.world.item_position[:, 0]
    assert vest[0].tolist() == [VEST[0] - 160, VEST[1] + 704]
    drawn = Counter(map(tuple, (env.world.position + torch.tensor([160.0, -704.0])).tolist()))
    assert set(drawn) == {(float(x), float(y)) for x, y in DENSE_STARTS}
    assert len(drawn) == 17
    assert max(drawn.values()) < 3 * min(drawn.values())
    assert env.world.heading.min() < -3
    assert env.world.heading.max() > 3
    still = wait(env, 0)
    assert still.reward.tolist() == pytest.approx([-0.0004] * 400)
    put(env, vest - torch.tensor([35.0, 0.0]))
    now = wait(env, 0)
    assert now.reward.tolist() == pytest.approx([1 - 0.0001] * 400)  # the first tick ends it
    assert (now.discount == 0).all()
    assert now.last.all()
    after = wait(env, 1)
    assert after.first.all()
    assert (after.reward == 0).all()
    assert (after.discount == 1).all()


def test_sparse_starts_are_fixed() -> None:
    for name, x, y, heading in (("sparse", 240, -176, 0.0), ("very_sparse", 544, -672, math.pi)):
        env = labyrinth(f"my_way_home_{name}", 3)
        assert env.world.position.tolist() == [[x - 160, y + 704]] * 3
        assert [math.cos(h) for h in env.world.heading] == pytest.approx([math.cos(heading)] * 3)


def test_my_way_homes_map_is_the_published_one() -> None:
    level = LEVELS["my_way_home_dense"]
    p = plan(level)
    assert p.open.shape == (52, 60)
    openings, corridors, alcove, bent = 6 * 16, 48 + 32, 60, 40 + 36 - 16  # cells of 16 x 16
    assert p.open.sum() == 8 * 100 + openings + corridors + alcove + bent
    assert (distances(p.walls, (32, 5))[p.open] >= 0).all()
    assert (level.physics, level.wall_height, level.eye_height) == (DOOM, 128, 41)
    textures = {int(t) for t in np.unique(p.walls)} - {0}
    assert len(textures) == 9  # eight rooms and the brick of the corridors
    inside = lambda x, y: bool(p.open[(y + 704) // 16, (x - 160) // 16])  # noqa: E731
    assert all(inside(x, y) for x, y in (*DENSE_STARTS, VEST))
    assert not inside(350, -100)
    assert not inside(576, 100)
