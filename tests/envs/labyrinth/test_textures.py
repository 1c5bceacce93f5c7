"""Textures: what levels and kernels rely on."""

import numpy as np

from morello.envs.labyrinth import textures
from morello.envs.labyrinth.textures import COUNT, LEVELS, POSTERS, SIZE, TEXTURES, WALLS, mip_offset, texture_table


def test_indices_start_at_one_and_posters_are_consecutive():
    assert list(TEXTURES.values()) == list(range(len(TEXTURES)))
    assert TEXTURES["none"] == 0
    assert not texture_table()[0].any()
    first = TEXTURES[next(iter(POSTERS))]
    assert [TEXTURES[name] for name in POSTERS] == list(range(first, first + len(POSTERS)))


def test_drawing_them_again_gives_the_same():
    before = texture_table()
    texture_table.cache_clear()
    np.testing.assert_array_equal(texture_table(), before)


def test_mip_levels_are_means_and_fit():
    table = texture_table()
    assert table.shape == (COUNT * 4 // 3, SIZE, SIZE, 3)
    texels = table.reshape(-1, 3)
    for name in ("brick_red", "poster_yellow_star", "ceiling_plaster"):
        for level in range(LEVELS):
            side = SIZE >> level
            start = mip_offset(COUNT, TEXTURES[name], level)
            small = texels[start : start + side * side].reshape(side, side, 3)
            blocks = table[TEXTURES[name]].reshape(side, 1 << level, side, 1 << level, 3).mean((1, 3))
            np.testing.assert_allclose(small, blocks, atol=1.01)
    assert mip_offset(COUNT, 0, LEVELS) <= len(texels)


def test_walls_are_told_apart_from_afar():
    """At 8 x 8 texels the two most alike differ, somewhere, by 10 levels on average over three channels."""
    far = np.stack([texture_table()[TEXTURES[name]] for name in WALLS]).astype(float)
    far = far.reshape(len(WALLS), 8, 8, 8, 8, 3).mean((2, 4))
    difference = np.abs(far[:, None] - far[None]).mean(-1).max((2, 3)) + 999 * np.eye(len(WALLS))
    assert difference.min() > 10


def test_noise_tiles():
    """The step across the seam is no larger than steps inside."""
    n = textures.noise(4, 7)
    for axis in (0, 1):
        inside = np.abs(np.diff(n, axis=axis)).max()
        seam = np.abs(np.take(n, 0, axis) - np.take(n, -1, axis)).max()
        assert seam <= 1.5 * inside
