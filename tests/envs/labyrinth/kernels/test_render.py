"""The renderer against the slow reference, pixel for pixel, and what it promises about batches."""

import numpy as np
import pytest
import torch
import warp as wp

from morello.envs.labyrinth.kernels import render as k
from morello.envs.labyrinth.kernels.shapes import SHAPES
from morello.envs.labyrinth.textures import TEXTURES, texture_table

from ....support.reference_renderer import FAR, picture

ROWS, COLUMNS, ITEMS = 5, 7, 19
LOOKS = np.array(
    [  # eye heights such that no wall texture has an edge exactly at the horizon
        k.look_row(100, 100, 51.3, TEXTURES["floor_grass"], 0),
        k.look_row(100, 200, 52.7, TEXTURES["floor_tiles"], TEXTURES["ceiling_panels"], texture_size=150),
        k.look_row(31, 128, 41.3, TEXTURES["floor_wood"], TEXTURES["ceiling_beams"], fov_tangent=0.7),
    ],
    np.float32,
)
KINDS = np.array(
    [
        (SHAPES[name], radius, centre, *colour)
        for name, radius, centre, colour in [
            ("none", 9, 9, (9, 9, 9)),
            ("apple", 14, 28, (214, 38, 36)),
            ("lemon", 17, 23, (244, 222, 42)),
            ("gem", 22, 40, (38, 214, 92)),
            ("vest", 19, 29, (42, 190, 60)),
            ("key", 23, 37, (30, 60, 220)),
            ("figure", 27, 29, (200, 120, 40)),
            ("apple", 11, 59, (40, 132, 52)),
        ]
    ],
    np.float32,
)


def scenes(seed, count, leaning=False):
    """Random worlds: sparse walls, some maps open at the border; items apart from each other and from walls.

    ``leaning``: items in every other cell only, but half inside the wall to their west or east.
    """
    rng = np.random.default_rng(seed)
    task = rng.permutation(np.arange(count) % len(LOOKS)).astype(np.int64)
    cell = LOOKS[task, k.CELL]
    texture = rng.integers(1, 30, (count, 2, ROWS + 1, COLUMNS + 1))
    border = np.zeros((2, ROWS + 1, COLUMNS + 1), bool)
    border[0, :, [0, COLUMNS]] = border[1, [0, ROWS], :] = True
    border = border & (rng.random(count) < 0.7)[:, None, None, None]
    walls = np.where((rng.random(texture.shape) < 0.1) | border, texture, 0).astype(np.uint8)
    walls[:, 0, ROWS] = walls[:, 1, :, COLUMNS] = 0
    cells = np.arange(0, ROWS * COLUMNS, 1 + leaning)
    spots = np.array([rng.permutation(cells)[: ITEMS + 1] for _ in range(count)])
    spots = np.stack([spots % COLUMNS, spots // COLUMNS], -1) + rng.uniform(0.35, 0.65, (count, spots.shape[1], 2))
    if leaning:
        spots[:, :-1, 0] += 0.45 * rng.choice([-1, 1], spots[:, :-1, 0].shape)
    places = (spots * cell[:, None, None]).astype(np.float32)
    kind = rng.integers(0, len(KINDS), (count, spots.shape[1] - 1))
    return {
        "position": places[:, -1].copy(),
        "heading": rng.uniform(-np.pi, np.pi, count).astype(np.float32),
        "walls": walls,
        "item_position": places[:, :-1].copy(),
        "item_kind": np.where(cell[:, None] < 50, 0, kind).astype(np.uint8),
        "task": task,
    }


def draw(scene, height, width, depth=False, out=None):
    count = len(scene["heading"])
    if out is None:
        out = torch.zeros(count, height, width) if depth else torch.zeros(count, height, width, 3, dtype=torch.uint8)
    tables = [LOOKS, KINDS] if depth else [LOOKS, KINDS, texture_table()]
    inputs = [wp.array(np.ascontiguousarray(x), device="cpu") for x in [*scene.values(), *tables]]
    kernel = k.render_depth if depth else k.render
    wp.launch(kernel, dim=(count, width), inputs=[*inputs, wp.from_torch(out)], device="cpu")
    return out.numpy()


def take(scene, rows):
    return {name: value[rows] for name, value in scene.items()}


def reference(scene, height, width):
    """Images and depths of all worlds of ``scene``."""
    looks, kinds = LOOKS.astype(float), KINDS.astype(float)
    pairs = [picture(take(scene, b), looks[task], kinds, height, width) for b, task in enumerate(scene["task"])]
    return tuple(np.stack(x) for x in zip(*pairs, strict=True))


SIZES = [(61, 83, False), (84, 84, False), (89, 53, False), (71, 97, True)]


@pytest.mark.parametrize(("height", "width", "leaning"), SIZES)
def test_agrees_with_the_reference(height, width, leaning):
    """Colours within 3 levels (texels and their brightness are truncated to integers), but for 1 pixel in 2000 whose
    texel or edge float32 puts on the other side; depths within a thousandth, but for 1 pixel in 10000.
    """
    scene = scenes(height, 13, leaning)
    image, depth = reference(scene, height, width)
    wrong = np.abs(draw(scene, height, width) - image).max(-1) > 3
    assert wrong.mean() < 0.0005
    assert wrong.mean((1, 2)).max() < 0.002
    relative = np.abs(draw(scene, height, width, depth=True) / depth - 1)
    assert (relative > 1e-3).mean() < 0.0001


def test_the_comparison_shows_every_kind_of_item():
    """Else agreement with the reference would prove nothing about them."""
    shown = np.zeros(len(KINDS), int)
    for height, width, leaning in SIZES:
        scene = scenes(height, 13, leaning)
        image, present = draw(scene, height, width), scene["item_kind"]
        for kind in range(1, len(KINDS)):
            without = scene | {"item_kind": np.where(present == kind, 0, present).astype(np.uint8)}
            shown[kind] += (draw(without, height, width) != image).any(-1).sum()
    assert shown[1:].min() > 100, shown


def test_a_world_looks_the_same_in_any_batch():
    scene = scenes(3, 11)
    whole = draw(scene, 47, 59)
    order = np.random.default_rng(5).permutation(11)
    np.testing.assert_array_equal(draw(take(scene, order), 47, 59), whole[order])
    parts = [draw(take(scene, slice(*bounds)), 47, 59) for bounds in ((0, 2), (2, 7), (7, 11))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    z = draw(scene, 47, 59, depth=True)
    np.testing.assert_array_equal(draw(take(scene, order), 47, 59, depth=True), z[order])


def test_writes_its_own_rows_all_of_them_and_no_others():
    scene = scenes(4, 5)
    for depth, shape in ((False, (7, 31, 37, 3)), (True, (7, 31, 37))):
        whole = draw(scene, 31, 37, depth)
        for fill in (7, 200):
            memory = torch.full(shape, fill, dtype=torch.float32 if depth else torch.uint8)
            draw(scene, 31, 37, depth, out=memory[1:6])
            np.testing.assert_array_equal(memory[1:6].numpy(), whole)
            assert (memory[[0, 6]] == fill).all()


def test_sees_across_a_map_of_sixty_cells():
    walls = np.zeros((1, 2, 53, 61), np.uint8)
    walls[0, 0, :52, 60] = TEXTURES["brick_red"]
    scene = {
        "position": np.array([[8.0, 391.0]], np.float32),
        "heading": np.zeros(1, np.float32),
        "walls": walls,
        "item_position": np.zeros((1, 0, 2), np.float32),
        "item_kind": np.zeros((1, 0), np.uint8),
        "task": np.zeros(1, np.int64),
    }
    LOOK = np.array([k.look_row(16, 128, 41, 1, 0)], np.float32)
    inputs = [wp.array(x, device="cpu") for x in [*scene.values(), LOOK, KINDS]]
    depth = wp.zeros((1, 84, 84), device="cpu")
    wp.launch(k.render_depth, dim=(1, 84), inputs=[*inputs, depth], device="cpu")
    np.testing.assert_allclose(depth.numpy()[0, 41, 25:59], 60 * 16 - 8, rtol=1e-5)
    assert (depth.numpy()[0, 0] == FAR).all()


def test_nearer_items_hide_farther_ones_whatever_their_order():
    scene = take(scenes(6, 3), [0, 0])
    scene["task"] = np.zeros(2, np.int64)
    scene["walls"] = np.zeros_like(scene["walls"])
    scene["position"] = np.full((2, 2), 50, np.float32)
    scene["heading"] = np.zeros(2, np.float32)
    line = 50 + np.array([[80, 0], [125, 3], [165, -2], [205, 4], [245, 0]], np.float32)
    scene["item_position"] = np.stack([line, line[::-1]])
    scene["item_kind"] = np.array([[1, 2, 7, 3, 6], [6, 3, 7, 2, 1]], np.uint8)
    first, second = draw(scene, 84, 84)
    np.testing.assert_array_equal(first, second)
    image, _ = reference(scene, 84, 84)
    assert (np.abs(first - image[0]).max(-1) > 3).mean() < 0.002


@pytest.mark.parametrize("kind", range(1, len(KINDS)))
@pytest.mark.parametrize("wall", [0, TEXTURES["wood"]])
def test_close_up(kind, wall):
    """One item in front of the eye, with and without a wall through it; at most 1 pixel in 1500 differs."""
    scene = take(scenes(7, 3), [0])
    scene["task"][:] = 0
    scene["walls"][:] = 0
    scene["walls"][:, 0, 0, 1] = wall
    scene["position"][:] = [[61.7, 30.9]]
    scene["heading"][:] = 0.3
    scene["item_position"] = np.array([[[104.0, 38.0]]], np.float32)
    scene["item_kind"] = np.array([[kind]], np.uint8)
    size = (181, 191)
    image, depth = reference(scene, *size)
    without = draw(scene | {"item_kind": np.zeros((1, 1), np.uint8)}, *size)
    assert (np.abs(image - without) > 9).any(-1).sum() > (0 if wall and kind > 3 else 300)
    assert (np.abs(draw(scene, *size) - image).max(-1) > 3).mean() < 1 / 1500
    assert (np.abs(draw(scene, *size, depth=True) / depth - 1) > 1e-3).mean() < 1 / 1500


def test_textures_span_whole_cells_by_default():
    assert [k.look_row(cell, 100, 50, 1, 0)[k.TEXTURE_SIZE] for cell in (16, 50, 64, 100)] == [64, 100, 64, 100]
