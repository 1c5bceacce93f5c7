"""How much cells of the picture change, and the head over cells."""

import re

import pytest
import torch

from morello.auxiliaries.losses.parts.cells import CellHead, cell_change, cell_grid, newest_channels

from ....support.rollouts import spec


def frames(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def naive(image, cell, channels):
    """Pixel by pixel, in Python's numbers."""
    rows, B, H, W, C = image.shape
    h, w = H // cell, W // cell
    h, w = h - h % 2, w - w % 2
    top, left = (H - h * cell) // 2, (W - w * cell) // 2
    pixels = image.tolist()
    change = torch.zeros(rows - 1, B, h, w, dtype=torch.float64)
    for t in range(rows - 1):
        for b in range(B):
            for y in range(h * cell):
                for x in range(w * cell):
                    before, after = (pixels[k][b][top + y][left + x] for k in (t, t + 1))
                    for c in range(C - channels, C):
                        change[t, b, y // cell, x // cell] += abs(after[c] / 255 - before[c] / 255)
    return change / (cell * cell * channels)


@pytest.mark.parametrize(
    ("cell", "H", "W", "C", "channels"), [(4, 37, 43, 3, None), (3, 19, 29, 5, 2), (5, 23, 31, 2, 1)]
)
def test_change_is_the_mean_over_a_cells_pixels_and_newest_channels(cell, H, W, C, channels):
    image = frames(3, 2, H, W, C)
    change = cell_change(image, cell, channels)
    expected = naive(image, cell, channels or C)
    assert change.dtype == torch.float32
    assert change.shape == expected.shape == (2, 2, *cell_grid(H, W, cell))
    assert (change - expected).abs().max() < 1e-6


def test_one_cell_from_black_to_white_is_1_and_the_other_399_are_0():
    image = torch.zeros(2, 1, 84, 84, 3, dtype=torch.uint8)
    image[1, :, 2 + 4 * 7 : 2 + 4 * 8, 2 + 4 * 13 : 2 + 4 * 14] = 255
    change = cell_change(image, 4)
    assert change.shape == (1, 1, 20, 20)
    assert change[0, 0, 7, 13] == 1
    assert change.sum() == 1


def test_one_pixel_in_one_of_three_channels_is_1_48th_in_exactly_one_cell():
    image = torch.zeros(2, 1, 84, 84, 3, dtype=torch.uint8)
    image[1, 0, 2 + 4 * 5 + 3, 2 + 4 * 11, 1] = 255
    change = cell_change(image, 4)
    assert change[0, 0, 5, 11].item() == pytest.approx(1 / 48)
    assert change.count_nonzero() == 1


def test_bytes_do_not_wrap_around():
    image = torch.tensor([0, 255, 0, 1], dtype=torch.uint8).view(4, 1, 1, 1, 1).expand(4, 3, 8, 12, 2)
    each = cell_change(image, 4).flatten(1)
    assert (each[:2] == 1).all()
    assert each[2].tolist() == pytest.approx([1 / 255] * each.shape[1])


def test_the_margin_and_older_frames_of_a_stack_do_not_count():
    image = torch.zeros(2, 1, 84, 84, 4, dtype=torch.uint8)
    image[1, 0, :2], image[1, 0, -2:], image[1, 0, :, :2], image[1, 0, :, -2:] = 255, 255, 255, 255
    image[1, ..., :3] = 255
    assert cell_change(image, 4, channels=1).count_nonzero() == 0
    assert newest_channels(None, spec(image=(84, 84, 4))._replace(stacked=4)) == 1
    assert cell_change(image, 4, channels=2).count_nonzero() == 400


def test_memory_of_any_layout_gives_the_same():
    image = frames(3, 2, 37, 43, 3)
    for order in ((4, 0, 1, 2, 3), (1, 0, 3, 2, 4)):
        back = sorted(range(5), key=order.__getitem__)
        strange = image.permute(order).contiguous().permute(back)
        assert strange.stride() != image.stride()
        assert torch.equal(cell_change(strange, 4, 2), cell_change(image, 4, 2))


@pytest.mark.parametrize(
    ("H", "W", "grid"), [(84, 84, (20, 20)), (72, 96, (18, 24)), (36, 36, (8, 8)), (67, 71, (16, 16))]
)
def test_the_head_has_an_answer_for_every_cell(H, W, grid):
    assert cell_grid(H, W, 4) == grid
    head = CellHead(5, 3, grid)
    assert head(torch.randn(7, 5)).shape == (7, 3, *grid)
    assert head.small == (32, grid[0] // 2 - 3, grid[1] // 2 - 3)


def test_the_heads_answers_may_be_negative_and_each_cell_can_differ():
    maps = CellHead(5, 2, (8, 10))(torch.randn(3, 5))
    assert (maps < 0).any()
    assert maps.flatten(1).unique(dim=1).shape[1] == 2 * 8 * 10


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: cell_grid(7, 84, 4), "frames of 7x84 are too small for two cells of 4 pixels each way"),
        (lambda: cell_change(frames(2, 1, 40, 5, 1), 3), "frames of 40x5 are too small for two cells of 3 pixels"),
        (lambda: cell_grid(84, 84, 0), "a cell is at least one pixel wide, not 0"),
        (lambda: CellHead(5, 1, cell_grid(84, 31, 4)), "a grid of 20x6 cells is not possible"),
        (lambda: CellHead(5, 1, (9, 10)), "a grid of 9x10 cells is not possible"),
        (lambda: newest_channels(4, spec(image=(8, 8, 3))), "3 channels: the newest are 1 to 3 of them, not 4"),
        (lambda: newest_channels(0, spec(image=(8, 8, 3))), "not 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()
