"""Random shifts and brightness, against padding and cutting image by image."""

import pytest
import torch

from morello.auxiliaries.losses.parts.augment import random_intensity, random_shift, shift

from ....support.shifts import generator, offsets, padded


def pixels(n, height, width, channels, seed=0):
    return torch.randint(256, (n, height, width, channels), generator=generator(seed), dtype=torch.uint8)


def test_shift_against_padding_and_cutting_one_by_one():
    images = pixels(11, 5, 7, 3)
    down = torch.tensor([0, 2, -2, 1, 0, -1, 2, -2, 0, 1, -1])
    right = torch.tensor([0, 1, 2, -2, -1, 0, 2, -2, 2, 1, -2])
    moved = shift(images, down, right)
    assert moved.dtype == torch.uint8
    for n in range(11):
        top, left = 2 + int(down[n]), 2 + int(right[n])
        assert torch.equal(moved[n], padded(images[n], 2)[top : top + 5, left : left + 7])
    assert torch.equal(moved[0], images[0])


def test_every_offset_is_reached_as_often_and_none_beyond():
    image, counts = pixels(1, 5, 7, 2)[0], torch.zeros(5, 5)
    for window in random_shift(image.expand(2500, -1, -1, -1), 2, generator()):
        ((top, left),) = offsets(image, window, 2)
        counts[top, left] += 1
    assert counts.min() > 60  # 100 of each on average
    assert counts.max() < 140


def test_no_shift_leaves_images_as_they_are():
    images = pixels(11, 5, 7, 3)
    assert torch.equal(random_shift(images, 0, generator()), images)


def test_a_stack_moves_and_brightens_as_a_whole():
    one = pixels(11, 5, 7, 1) // 2
    stack = torch.cat([one, one, one], dim=-1)
    for changed in (random_shift(stack, 2, generator()), random_intensity(stack, 0.2, generator())):
        assert torch.equal(changed, changed[..., :1].expand_as(changed))
        assert (changed != stack).flatten(1).any(1).sum() > 5


def test_intensity_is_one_factor_an_image_clipped_and_rounded():
    images = torch.full((5000, 2, 3, 1), 200, dtype=torch.uint8)
    images[:, 0, 0] = 50
    changed = random_intensity(images, 0.05, generator()).float()
    bright = changed[:, 1, 1, 0]
    assert torch.equal(changed[:, 1, 2, 0], bright)
    assert (changed[:, 0, 0, 0] - bright / 4).abs().max() <= 0.75  # both are rounded
    assert bright.min() == 180
    assert bright.max() == 220
    assert (bright == 220).float().mean().item() == pytest.approx(0.026, abs=0.01)  # P(e > 1.95)
    assert bright.mean().item() == pytest.approx(200, abs=1)
    assert (bright / 200).std().item() == pytest.approx(0.048, abs=0.003)  # of a normal clipped at 2: 0.96 x 0.05
    assert (random_intensity(torch.full_like(images, 255), 0.05, generator()) >= 229).all()  # does not wrap around
