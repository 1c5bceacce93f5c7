"""The torso of gridworlds: what it computes, and that images which repeat change nothing but the time it takes."""

import copy

import pytest
import torch
from torch.nn import functional as F

from morello.backbones import TORSOS
from morello.backbones.grid import MANY

H, W, C, E = 5, 4, 3, 11


def repeating(count, kinds, seed=5):
    """``count`` images of ``kinds`` different ones, the last codes of which are often 0."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(4, (kinds, H, W, C), dtype=torch.uint8, generator=generator)
    images[:, 1:] *= torch.randint(2, (kinds, H - 1, W, C), dtype=torch.uint8, generator=generator)
    return images[torch.randint(kinds, (count,), generator=generator)]


def test_grid_torso_adds_up_a_vector_for_each_channels_value():
    torso = TORSOS["grid"]((H, W, C), size=E, width=2)
    assert torso.map_shape == (64, 3, 2)
    image = torch.randint(256, (2, H, W, C), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    table = torso.embedding.weight.view(3, 256, 2)
    cells = torch.zeros(2, 2, H, W)
    for n in range(2):
        for y in range(H):
            for x in range(W):
                for c in range(C):
                    cells[n, :, y, x] += table[c, int(image[n, y, x, c])]
    maps = torch.relu(torso.second(torch.relu(torso.first(cells))))
    seen, vector = torso(image)
    torch.testing.assert_close(seen, maps)
    torch.testing.assert_close(vector, torch.relu(torso.linear(maps.flatten(1))))


def test_grid_torso_tells_neighbouring_codes_apart_and_refuses_what_is_smaller_than_its_filters():
    torso = TORSOS["grid"]((3, 3, 1))
    a, b = (torso(torch.full((1, 3, 3, 1), code, dtype=torch.uint8))[1] for code in (4, 5))
    assert (a - b).abs().max() > 0.1
    with pytest.raises(ValueError, match="2x7"):
        TORSOS["grid"]((2, 7, 3))


@pytest.mark.parametrize("kinds", [1, 13, 100_000])
def test_many_images_give_what_each_gives_alone_and_the_same_gradient(kinds):
    torso = TORSOS["grid"]((H, W, C), size=E)
    alone, images = copy.deepcopy(torso), repeating(MANY + 1, kinds)
    to_map, to_vector = torch.randn(len(images), 64, 3, 2), torch.randn(len(images), E)
    maps, vector = torso(images)
    ((maps * to_map).sum() + (vector * to_vector).sum()).backward()
    rows = [alone(image.unsqueeze(0)) for image in images]
    torch.testing.assert_close(maps, torch.cat([m for m, _ in rows]))
    torch.testing.assert_close(vector, torch.cat([v for _, v in rows]))
    sum(((m * a).sum() + (v * b).sum()) for (m, v), a, b in zip(rows, to_map, to_vector, strict=True)).backward()
    for mine, its in zip(torso.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("greatest", [3, 19, 200])  # one-hot codes for few, vectors looked up for many
def test_the_gradient_is_that_of_the_vectors_of_single_cells(greatest):
    torso = TORSOS["grid"]((H, W, C), size=E, width=2)
    images = torch.randint(greatest + 1, (17, H, W, C), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images[0, 0, 0] = greatest
    direction = torch.randn(17, E)
    (torso(images)[1] * direction).sum().backward()
    table = torso.embedding.weight.detach().clone().requires_grad_()
    first = torso.first.weight.detach().clone().requires_grad_()
    hot = F.one_hot(images.long(), 256).float()  # [N, H, W, C, 256]
    cells = torch.einsum("nhwck,ckd->ndhw", hot, table.view(C, 256, 2))
    y = torch.relu(F.conv2d(cells, first, torso.first.bias.detach()))
    maps = torch.relu(F.conv2d(y, torso.second.weight.detach(), torso.second.bias.detach()))
    vector = torch.relu(F.linear(maps.flatten(1), torso.linear.weight.detach(), torso.linear.bias.detach()))
    (vector * direction).sum().backward()
    torch.testing.assert_close(torso.embedding.weight.grad, table.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torso.first.weight.grad, first.grad, atol=1e-5, rtol=1e-4)


def test_equal_images_are_computed_once():
    torso, images, computed = TORSOS["grid"]((H, W, C), size=E), repeating(MANY, 13), []
    torso.second.register_forward_hook(lambda _, given, __: computed.append(len(given[0])))
    torso(images)
    few = repeating(MANY - 1, 13)
    torso(few)
    assert computed == [13, MANY - 1]


def test_while_weights_are_constant_an_image_is_computed_once_and_afterwards_anew():
    torso, computed = TORSOS["grid"]((H, W, C), size=E), []
    images = repeating(40, 7).split(10)
    expected = [torso(x) for x in images]
    torso.second.register_forward_hook(lambda _, given, __: computed.append(len(given[0])))
    torso.keep(True)
    with torch.no_grad():
        for x, (_, vector) in zip(images, expected, strict=True):
            torch.testing.assert_close(torso(x)[1], vector)
    assert sum(computed) == 7
    assert torso(images[0])[1].requires_grad  # with a gradient nothing is taken from memory
    torso.keep(False)
    with torch.no_grad():
        torso.linear.bias += 1
        assert not torch.allclose(torso(images[0])[1], expected[0][1])
