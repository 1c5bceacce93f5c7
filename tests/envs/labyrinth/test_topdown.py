"""The map for people shows what is where, north up."""

import numpy as np
import pytest
import torch

from morello.envs.labyrinth.kernels.items import KIND, KINDS
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.tables import compile_levels, new_world
from morello.envs.labyrinth.topdown import AGENT, ROCK, topdown

HEIGHT, WIDTH = 211, 307


@pytest.fixture
def scene():
    tables = compile_levels([LEVELS["nav_maze_static_01"], LEVELS["my_way_home_sparse"]], torch.device("cpu"))
    world = new_world(tables, 2, seed=0, env_offset=0)
    world.position[:] = torch.tensor([[850.0, 150.0], [80.0, 528.0]])
    world.item_position[:, 0] = torch.tensor([150.0, 350.0])
    world.item_kind[0, 0] = KIND["apple"]
    return world, tables


def pixel(image, tables, k, x, y):
    """The colour at map place (x, y)."""
    tall, wide = (float(size[k] * tables.cell_size[k]) for size in (tables.height, tables.width))
    unit = max(tall / HEIGHT, wide / WIDTH) * 1.06
    return image[int(HEIGHT / 2 - (y - tall / 2) / unit), int(WIDTH / 2 + (x - wide / 2) / unit)].astype(int)


def test_shows_agent_and_items_in_their_places(scene):
    world, tables = scene
    image = topdown(world, tables, 0, HEIGHT, WIDTH)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(pixel(image, tables, 0, 850, 150), AGENT, atol=3)
    np.testing.assert_allclose(pixel(image, tables, 0, 150, 350), KINDS[KIND["apple"]].colour, atol=3)
    assert np.abs(pixel(image, tables, 0, 150, 150) - pixel(image, tables, 0, 150, 350)).max() > 50


def test_the_agent_looks_along_its_heading(scene):
    world, tables = scene
    pictures = []
    for heading in (0.0, np.pi / 2):
        world.heading[0] = heading
        pictures.append(topdown(world, tables, 0, HEIGHT, WIDTH))
    ahead = [pixel(p, tables, 0, 850 + dx, 150 + dy).sum() for p in pictures for dx, dy in ((70, 0), (0, 70))]
    assert ahead[0] > ahead[2]  # east is in view only when looking east
    assert ahead[3] > ahead[1]


def test_walls_are_drawn_and_rock_is_dark(scene):
    world, tables = scene
    image = topdown(world, tables, 1, HEIGHT, WIDTH)
    np.testing.assert_allclose(pixel(image, tables, 1, 900, 20), ROCK, atol=1)
    floor = pixel(image, tables, 1, 40, 528)
    assert floor.min() > 120
    bare = world._replace(walls=torch.zeros_like(world.walls))
    changed = (topdown(bare, tables, 1, HEIGHT, WIDTH) != image).any(-1).mean()
    assert changed > 0.3  # without walls nothing is rock


def test_a_trail_is_a_line_without_restarts(scene):
    world, tables = scene
    trail = np.array([[50.0, 50], [100, 50], [150, 50], [650, 450], [700, 450]])
    plain, marked = (topdown(world, tables, 0, HEIGHT, WIDTH, t) for t in (None, trail))
    assert (pixel(marked, tables, 0, 120, 50) != pixel(plain, tables, 0, 120, 50)).any()
    assert (pixel(marked, tables, 0, 400, 250) == pixel(plain, tables, 0, 400, 250)).all()
    np.testing.assert_array_equal(topdown(world, tables, 0, HEIGHT, WIDTH, trail[:1]), plain)


def test_time_in_each_square_is_its_colour_and_no_line(scene):
    world, tables = scene
    trail = np.array([[50.0, 50], [130, 40], [120, 60], [150, 50], [150, 50], [650, 450]])
    plain, heat = (topdown(world, tables, 0, HEIGHT, WIDTH, trail[:n], heat=True) for n in (0, 6))
    once, often, far = (pixel(heat, tables, 0, x, y) for x, y in ((50, 80), (150, 80), (620, 480)))
    assert (once == far).all()
    assert once[2] > once[0] + 40  # blue
    assert often[0] > often[2] + 40  # red
    for x, y in ((250, 50), (400, 250), (50, 150)):
        assert (pixel(heat, tables, 0, x, y) == pixel(plain, tables, 0, x, y)).all()
