"""Networks of rewards: neither chunks nor computing equal images once changes anything, gradients included."""

import copy

import pytest
import torch
from torch import nn

from morello.auxiliaries.intrinsic.parts import networks
from morello.auxiliaries.intrinsic.parts.distillation import Distillation
from morello.auxiliaries.intrinsic.parts.dynamics import ForwardModel, InverseModel
from morello.auxiliaries.intrinsic.parts.networks import Embedding, convolutions, once, orthogonal, perceptron
from morello.auxiliaries.intrinsic.parts.view import View, taken

from ....support.rollouts import spec

N, D = 47, 23
WORLDS = {
    "grid": spec(image=(7, 7, 3)),
    "image": spec(image=(36, 44, 3)),
    "vector": spec(vector=11),
    "both": spec(image=(7, 7, 3), vector=11),
}


def seen(world, n=N, distinct=None, seed=0):
    """Views of n observations, of which only so many differ."""
    g = torch.Generator().manual_seed(seed)
    view, found = View(world, 42), {}
    index = torch.arange(n) % (distinct or n)
    for name, shape in view.shapes.items():
        x = torch.randint(11, (n, *shape), generator=g).float() if name == "image" else torch.randn(n, *shape)
        found[name] = x[index]
    return view, found


def embedding(view, widths=(D,), seed=0, **options):
    torch.manual_seed(seed)
    return Embedding(view, widths, **options)


def trained(module, function, views):
    """The output for ``views``, and the gradient of each weight."""
    module.zero_grad()
    y = function(views)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y.square() * weight).sum().backward()
    return y.detach(), [p.grad.clone() for p in module.parameters() if p.grad is not None]


def close(one, other):
    torch.testing.assert_close(one, other, rtol=5e-4, atol=2e-3)


@pytest.mark.parametrize(
    ("kind", "widths"),
    [(kind, widths) for kind in WORLDS for widths in ((D,), (31, D), ()) if widths or kind != "vector"],
)
def test_chunks_and_once_change_nothing(monkeypatch, kind, widths):
    view, views = seen(WORLDS[kind], distinct=13)
    module = embedding(view, widths)
    plain = trained(module, module._embed, views)
    assert plain[0].shape == (N, module.size)
    assert len(plain[1]) == len(list(module.parameters()))
    close(trained(module, module, views), plain)
    monkeypatch.setattr(networks, "CHUNK_VALUES", 3 * max(module.inputs.values()))
    pieces, whole = [], module._embed
    module._embed = lambda part: pieces.append(len(next(iter(part.values())))) or whole(part)
    close(trained(module, module, views), plain)
    assert len(pieces) >= 4
    assert sum(pieces) == (13 if kind == "grid" else N)
    assert max(pieces) <= 5


def test_rows_do_not_depend_on_their_neighbours():
    for world in WORLDS.values():
        view, views = seen(world)
        module = embedding(view)
        order = torch.randperm(N)
        close(module({k: v[order] for k, v in views.items()}), module(views)[order])


def test_once_computes_each_distinct_grid_once():
    view, views = seen(WORLDS["grid"], distinct=13)
    given = []
    found = once(lambda part: given.append(part["image"]) or part["image"].flatten(1), views, view.small("image"))
    assert [len(x) for x in given] == [13]
    assert torch.equal(found, views["image"].flatten(1))


@pytest.mark.parametrize("kind", ["image", "vector", "both"])
def test_once_leaves_everything_else_as_it_is(kind):
    view, views = seen(WORLDS[kind], distinct=13)
    given = []
    once(lambda part: given.append(part) or next(iter(part.values())).flatten(1), views, view.small("image"))
    assert given == [views]


@pytest.mark.parametrize(("kind", "size"), [("image", 64 * 4 * 3), ("grid", 128), ("vector", 11), ("both", 128 + 11)])
def test_sizes(kind, size):
    view, _ = seen(WORLDS[kind])
    assert embedding(view, ()).size == size
    assert embedding(view).size == D


def test_features_are_576_of_an_image_of_42_by_42():
    assert convolutions((4, 42, 42), False, nn.ELU)(torch.zeros(1, 4, 42, 42)).numel() == 576


def test_pixels_are_in_units_of_the_scale():
    view, views = seen(WORLDS["image"])
    one, other = embedding(view), embedding(view, scale=255.0)
    close(other({"image": 255 * views["image"]}), one(views))


@pytest.mark.parametrize("kind", WORLDS)
def test_in_bfloat16_outputs_are_float32_and_near(kind):
    view, views = seen(WORLDS[kind], distinct=13)
    module = embedding(view, (31, D), scale=10.0)
    plain, gradients = trained(module, module, views)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(views)
    assert found.dtype == torch.float32
    assert 0 < (found - plain).abs().max() < 0.05 * plain.abs().max()

    def narrow(views):
        with torch.autocast("cpu", torch.bfloat16):
            return module(views)

    _, others = trained(module, narrow, views)
    for one, other in zip(gradients, others, strict=True):
        assert other.dtype == torch.float32
        assert (one - other).norm() < 0.1 * one.norm()


def test_perceptrons_have_activations_between_layers_only():
    layers = perceptron((3, 5, 7), nn.ELU)
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ELU", "Linear"]
    assert len(perceptron((3, 5))) == 1


def test_orthogonal_weights():
    layers = orthogonal(nn.Sequential(nn.Linear(23, 11), nn.Conv2d(3, 7, 3)), gain=2.0)
    for layer in layers:
        w = layer.weight.detach().flatten(1)
        torch.testing.assert_close(w @ w.T, 4 * torch.eye(len(w)), rtol=1e-4, atol=1e-4)
        assert (layer.bias == 0).all()


@pytest.mark.parametrize("kind", WORLDS)
def test_distillation_trains_the_predictor_only(kind):
    view, views = seen(WORLDS[kind], distinct=13)
    torch.manual_seed(0)
    module = Distillation(view, D)
    fixed = copy.deepcopy(module.target.state_dict())
    error, target = module.error(views)
    assert error.shape == (N,)
    by_hand = (module.head(module.trunk._embed(views)) - module.target._embed(views)).square().mean(-1)
    close(error, by_hand)
    again, same = module.error(views, target)
    assert same is target
    torch.testing.assert_close(again, error)
    torch.optim.SGD(module.parameters(), 0.01).zero_grad()
    error.mean().backward()
    assert all(p.grad is None for p in module.target.parameters())
    assert all(p.grad is not None for part in (module.trunk, module.head) for p in part.parameters())
    assert all(torch.equal(v, fixed[k]) for k, v in module.target.state_dict().items())


def test_models_of_dynamics_read_both_of_their_inputs():
    torch.manual_seed(0)
    x, y, action = torch.randn(5, 3, D), torch.randn(5, 3, D), torch.randint(7, (5, 3))
    inverse, forward = InverseModel(D, 7, 31), ForwardModel(D, 7, 31)
    logits, guess = inverse(x, y), forward(x, action)
    assert logits.shape == (5, 3, 7)
    assert guess.shape == (5, 3, D)
    changed = [logits - inverse(y, x), logits - inverse(x, x), guess - forward(y, action)]
    for difference in (*changed, guess - forward(x, (action + 1) % 7)):
        assert difference.abs().amax(-1).median() > 1e-3


@pytest.mark.parametrize("shape", [(36, 44, 3), (42, 42, 4), (43, 47, 1)])
@pytest.mark.parametrize("widths", [(D,), ()])
def test_folded_images_are_embedded_as_others_are(shape, widths):
    world = spec(image=shape)
    view, images = View(world, 42), torch.randint(256, (3, 5, *shape), dtype=torch.uint8)
    module = embedding(view, widths, scale=255.0)
    plain, kept = view({"image": images}), taken(view.kept({"image": images}))
    assert kept["image"].shape[1] == 16 * plain["image"].shape[1]
    close(trained(module, module, kept), trained(module, module, plain))
