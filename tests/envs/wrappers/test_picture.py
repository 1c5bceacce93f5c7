"""Grey and smaller images: Pillow's grey, and exact means over areas."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from morello.envs.wrappers import (
    FrameStack,
    Grey,
    Resize,
)
from morello.envs.wrappers.picture import luma

from ...support.film import LENGTHS, Film, image, run, same_but
from ...support.timesteps import assert_same


def test_grey_is_pillows():
    colours = torch.cartesian_prod(*[torch.arange(0, 256, 17, dtype=torch.uint8)] * 3).view(64, 64, 3)
    colours = torch.cat([colours, torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8)])
    pillows = np.array(Image.fromarray(colours.numpy()).convert("L"))
    np.testing.assert_array_equal(luma(colours).squeeze(-1).numpy(), pillows)
    exact = (colours.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)).unsqueeze(-1)
    assert float((luma(colours) - exact).abs().max()) < 0.503
    green, half = [0, 255, 0], [1, 53, 185]  # 149.69; with Pillow's weights 52.5 to the last bit
    assert luma(torch.tensor([green, half], dtype=torch.uint8)).tolist() == [[150], [53]]


def test_stacked_colours_become_stacked_greys():
    stacked_before = run(Grey(FrameStack(Film(LENGTHS), 2)))
    stacked_after = run(FrameStack(Grey(Film(LENGTHS)), 2))
    plain = run(Film(LENGTHS))
    for x, y, z in zip(stacked_before, stacked_after, plain, strict=True):
        assert_same(x, y)
        assert torch.equal(image(x)[..., 1:], luma(image(z)))


def area_by_hand(picture, height, width):
    """Means over exact areas, in fractions; halves to even, as Python rounds."""

    def shared(i, new, x, old):
        """Of the intervals [i / new, (i + 1) / new] and [x / old, (x + 1) / old]."""
        end, begin = min(Fraction(i + 1, new), Fraction(x + 1, old)), max(Fraction(i, new), Fraction(x, old))
        return max(Fraction(0), end - begin)

    H, W, C = picture.shape
    result = np.zeros((height, width, C), np.uint8)
    for i, j in np.ndindex(height, width):
        for c in range(C):
            total = sum(
                shared(i, height, y, H) * shared(j, width, x, W) * int(picture[y, x, c]) for y, x in np.ndindex(H, W)
            )
            result[i, j, c] = round(total * height * width)
    return result


@pytest.mark.parametrize(("height", "width"), [(3, 2), (5, 7), (1, 1), (4, 6), (7, 11)])
def test_resized_images_are_means_over_areas(height, width):
    answers, plain = run(Resize(Film(LENGTHS, channels=2), height, width)), run(Film(LENGTHS, channels=2))
    same_but(answers, plain, "image")
    for x, y, b in zip(answers[:2], plain, (0, 3), strict=False):
        np.testing.assert_array_equal(image(x)[b].numpy(), area_by_hand(image(y)[b].numpy(), height, width))


def test_whole_factors_are_means_of_blocks():
    film = Film(LENGTHS, height=6, width=35)
    for x, y in zip(run(Resize(film, 2, 7), 5), run(Film(LENGTHS, height=6, width=35), 5), strict=True):
        blocks = image(y).view(5, 2, 3, 7, 5, 3).long().sum((2, 4))  # of 15: no halves
        assert torch.equal(image(x), ((2 * blocks + 15) // 30).to(torch.uint8))


def test_halves_go_to_the_even_number():
    film = Film([9], height=1, width=2, channels=1)
    film.images[0, 0, 0, :, 0] = torch.tensor([4, 5])
    film.images[1, 0, 0, :, 0] = torch.tensor([5, 6])
    assert [image(x).item() for x in run(Resize(film, 1, 1), 1)] == [4, 6]


def test_a_large_image_is_exact_too():
    """Where float32 could no longer count: one level more in 1000 x 1001 pixels tips the mean."""
    film = Film([9], height=1000, width=1001, channels=1)
    film.images = torch.full((3, 1, 1000, 1001, 1), 254, dtype=torch.uint8)
    film.images[:, 0, :500, :, 0] = 253  # the mean is 253.5, which goes to 254
    film.images[1, 0, 500, 0, 0] = 252  # and just below it
    assert [image(x).item() for x in run(Resize(film, 1, 1), 1)] == [254, 253]
