"""The renderer against the slow reference, pixel for pixel, and its promises about batches."""

import numpy as np
import pytest
import torch
import warp as wp
from morello.envs.labyrinth import render as k
from morello.envs.labyrinth.shapes import SHAPES
from morello.envs.labyrinth.textures import TEXTURES, texture_table

from .reference_renderer import picture

SIZES = [(61, 83), (84, 84), (89, 53)]  # height, width
LOOKS = np.array(
    [
        k.look_row(100, 100, 50, TEXTURES["floor_grass"], 0),
        k.look_row(100, 200, 50, TEXTURES["floor_tiles"], TEXTURES["ceiling_panels"], texture_size=150),
        k.look_row(31, 128, 41, TEXTURES["floor_wood"], TEXTURES["ceiling_beams"], fov_tangent=0.7),
    ],
    np.float32,
)
KINDS = np.array(
    [
        (SHAPES[name], radius, centre, *color)
        for name, radius, centre, color in [
            ("none", 9, 9, (9, 9, 9)), ("apple", 14, 28, (214, 38, 36)), ("lemon", 17, 23, (244, 222, 42)),
            ("gem", 22, 40, (38, 214, 92)), ("vest", 19, 29, (42, 190, 60)), ("key", 23, 37, (30, 60, 220)),
            ("figure", 27, 29, (200, 120, 40)), ("apple", 11, 59, (40, 132, 52)),
        ]
    ],
    np.float32,
)  # fmt: skip
ROWS, COLUMNS, ITEMS = 5, 7, 11


def scenes(seed, count):
    """``count`` random worlds: sparse walls (some maps open at the border), items apart from each other."""
    rng = np.random.default_rng(seed)
    task = rng.permutation(np.arange(count) % len(LOOKS)).astype(np.int64)
    cell = LOOKS[task, k.CELL]
    walls = np.where(rng.random((count, 2, ROWS + 1, COLUMNS + 1)) < 0.15, rng.integers(1, 30, (count, 2, ROWS + 1, COLUMNS + 1)), 0)
    closed = rng.random(count) < 0.7
    for border in (np.s_[:, 0, :, 0], np.s_[:, 0, :, COLUMNS], np.s_[:, 1, 0, :], np.s_[:, 1, ROWS, :]):
        walls[border] = np.where(closed[:, None], rng.integers(1, 30, walls[border].shape), walls[border])
    walls[:, 0, ROWS] = 0
    walls[:, 1, :, COLUMNS] = 0
    spots = np.array([rng.permutation(ROWS * COLUMNS)[: ITEMS + 1] for _ in range(count)])
    jitter = rng.uniform(0.35, 0.65, (count, ITEMS + 1, 2))
    places = ((np.stack([spots % COLUMNS, spots // COLUMNS], -1) + jitter) * cell[:, None, None]).astype(np.float32)
    kind = rng.integers(0, len(KINDS), (count, ITEMS))
    return {
        "position": places[:, -1].copy(),
        "heading": rng.uniform(-np.pi, np.pi, count).astype(np.float32),
        "walls": walls.astype(np.uint8),
        "item_position": places[:, :-1].copy(),
        "item_kind": np.where(cell[:, None] < 50, 0, kind).astype(np.uint8),
        "task": task,
    }


def draw(scene, height, width, depth=False):
    count = len(scene["heading"])
    inputs = [*scene.values(), LOOKS, KINDS] + ([] if depth else [texture_table()])
    arrays = [wp.array(x, device="cpu") for x in inputs]
    out = torch.full((count, height, width) if depth else (count, height, width, 3), 7, dtype=torch.float32 if depth else torch.uint8)
    wp.launch(k.render_depth if depth else k.render, dim=(count, width), inputs=[*arrays, wp.from_torch(out)], device="cpu")
    return out.numpy()


def world(scene, b):
    return {name: value[b] for name, value in scene.items()}


def reference(scene, height, width):
    pairs = [picture(world(scene, b), LOOKS[t].astype(float), KINDS.astype(float), height, width) for b, t in enumerate(scene["task"])]
    return tuple(np.stack(x) for x in zip(*pairs, strict=True))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_agrees_with_the_reference(height, width):
    scene = scenes(height, 13)
    image, depth = reference(scene, height, width)
    error = np.abs(draw(scene, height, width).astype(float) - image).max(-1)
    assert (error <= 2).mean() > 0.995
    assert (error <= 2).mean((1, 2)).min() > 0.97
    z = draw(scene, height, width, depth=True)
    relative = np.abs(z - depth) / depth
    assert (relative < 1e-3).mean() > 0.995
