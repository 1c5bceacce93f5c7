"""What rewards look at: sizes, averages by hand, the newest frame, and the order of rows."""

import pytest
import torch

from morello.auxiliaries.intrinsic.parts.view import View, taken
from morello.auxiliaries.intrinsic.parts.whitening import Whitening
from morello.backbones.rectified import folded

from ....support.rollouts import spec

T, B = 3, 5


@pytest.mark.parametrize(
    ("shape", "side", "seen", "small"),
    [
        ((7, 7, 3), 42, (3, 7, 7), True),
        ((19, 30, 2), 8, (2, 19, 30), True),
        ((20, 20, 3), 42, (3, 20, 20), False),
        ((36, 44, 3), 42, (3, 36, 44), False),
        ((36, 44, 3), 20, (3, 36, 44), False),
        ((84, 84, 4), 42, (4, 42, 42), False),
        ((90, 130, 3), 42, (3, 45, 65), False),
        ((97, 131, 3), 42, (3, 48, 65), False),
        ((84, 84, 3), 8, (3, 8, 8), False),
        ((84, 84, 3), 1, (3, 1, 1), False),
        ((20, 170, 2), 1, (2, 1, 1), False),
    ],
)
def test_sizes(shape, side, seen, small):
    view = View(spec(image=shape), side)
    assert view.shapes == {"image": seen}
    assert view.small("image") == small
    images = torch.randint(256, (T, B, *shape), dtype=torch.uint8)
    found = view({"image": images})["image"]
    assert found.shape == (T * B, *seen)
    assert found.dtype == torch.float32


def test_images_are_averaged_over_squares_and_rows_stay_in_order():
    images = torch.randint(256, (T, B, 97, 85, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = View(spec(image=(97, 85, 3)), 42)({"image": images})["image"]
    for t, b, c, y, x in [(0, 0, 0, 0, 0), (1, 4, 2, 47, 41), (2, 3, 1, 13, 29), (0, 1, 2, 5, 7)]:
        square = images[t, b, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2, c].float().mean()
        assert found[t * B + b, c, y, x] == pytest.approx(float(square))


@pytest.mark.parametrize("shape", [(84, 84, 3), (60, 80, 3), (20, 170, 1)])
def test_a_side_of_one_is_the_mean_of_the_image_to_its_edges(shape):
    images = torch.randint(256, (T, B, *shape), dtype=torch.uint8)
    found = View(spec(image=shape), 1)({"image": images})["image"]
    expected = images.flatten(0, 1).double().mean((1, 2))
    torch.testing.assert_close(found.flatten(1).double(), expected, atol=1e-4, rtol=0)


def test_codes_are_not_averaged():
    images = torch.randint(11, (T, B, 7, 7, 3), dtype=torch.uint8)
    found = View(spec(image=(7, 7, 3)), 1)({"image": images})["image"]
    assert torch.equal(found, images.flatten(0, 1).permute(0, 3, 1, 2).float())


def test_of_stacked_frames_the_newest_is_seen():
    images = torch.randint(256, (T, B, 36, 44, 12), dtype=torch.uint8)
    stacked = View(spec(image=(36, 44, 12))._replace(stacked=4), 20)
    alone = View(spec(image=(36, 44, 3)), 20)
    assert stacked.shapes == alone.shapes
    assert torch.equal(stacked({"image": images})["image"], alone({"image": images[..., 9:]})["image"])


def test_vectors_are_seen_as_they_are_beside_images():
    vector = torch.randn(T, B, 11)
    view = View(spec(image=(7, 7, 3), vector=11), 42)
    found = view({"image": torch.zeros(T, B, 7, 7, 3, dtype=torch.uint8), "vector": vector})
    assert list(found) == ["image", "vector"]
    assert torch.equal(found["vector"], vector.flatten(0, 1))
    assert not view.small("vector")


def test_what_is_seen_is_not_the_rollouts_memory_that_will_be_overwritten():
    images = torch.randint(256, (T, B, 7, 7, 3), dtype=torch.uint8)
    found = View(spec(image=(7, 7, 3)), 42)({"image": images})["image"]
    before = found.clone()
    images.fill_(0)
    assert torch.equal(found, before)


@pytest.mark.parametrize("shape", [(42, 42, 3), (36, 44, 3), (84, 84, 1), (97, 131, 3), (130, 140, 2)])
@pytest.mark.parametrize("environments", [B, 47])
def test_what_is_kept_are_the_views_folded(shape, environments):
    observation = {"image": torch.randint(256, (T, environments, *shape), dtype=torch.uint8)}
    view = View(spec(image=shape), 42)
    found, plain = view.kept(observation)["image"], view(observation)["image"]
    channels, height, width = view.shapes["image"]
    assert found.shape == (T, environments, height // 4, width // 4, 16 * channels)
    expected = folded(plain[:, :, : height // 4 * 4, : width // 4 * 4], 4, 4)
    assert torch.equal(taken({"image": found})["image"], expected)
    some = taken({"image": found}, slice(1, None, 2))["image"]
    assert torch.equal(some, expected.unflatten(0, (T, environments))[:, 1::2].flatten(0, 1))


def test_small_grids_and_vectors_are_kept_as_they_are():
    view = View(spec(image=(7, 7, 3), vector=11), 42)
    images = torch.randint(11, (T, B, 7, 7, 3), dtype=torch.uint8)
    found = view.kept({"image": images, "vector": torch.full((T, B, 11), 1.001)})
    assert torch.equal(found["image"], images.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = view.kept({"image": images, "vector": torch.full((T, B, 11), 1.001)})
    assert found["image"].dtype == torch.bfloat16
    assert torch.equal(found["vector"], torch.full((T, B, 11), 1.001)), "vectors keep their precision"


@pytest.mark.parametrize("known", [False, True])
def test_whitened_views_are_the_same_folded_before_or_after(known):
    """An even number of images, of which a few pass at a time."""
    view, observation = View(spec(image=(45, 86, 3)), 42), {}
    observation["image"] = torch.randint(256, (T, 70, 45, 86, 3), dtype=torch.uint8)
    whitening = Whitening(view.shapes)
    assert not whitening.begun
    if known:
        whitening.update(view({"image": observation["image"][:, :9]}))
        assert whitening.begun
    found = view.kept(observation, whitening, at_once=not known)["image"]
    expected = folded(whitening(view(observation))["image"][:, :, :44, :84], 4, 4)
    assert torch.equal(taken({"image": found})["image"], expected)
