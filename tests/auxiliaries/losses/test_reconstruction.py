"""Predicting the next change and drawing the picture: what is compared with what, and what gets gradients."""

import math

import pytest
import torch
from torch import nn

from morello.auxiliaries.losses.change_prediction import ChangePrediction
from morello.auxiliaries.losses.reconstruction import PixelDecoder, Reconstruction
from morello.backbones import Sizes
from morello.backbones.convolutional import ShallowCNN

from ...support import rollouts
from ...support.figures import figures

T, B, A, D, E, C = 7, 5, 3, 11, 2, 3
SIZES = Sizes(None, E, D)
SPEC = rollouts.spec(image=(37, 43, C), actions=A)  # 8x10 cells of 4 and a margin


def built(kind, spec=SPEC, **settings):
    torch.manual_seed(0)
    loss = kind(kind.Config(**settings), spec, SIZES)
    if kind is ChangePrediction:
        nn.init.normal_(loss.head.second.weight)  # it begins at zero
    return loss


def data(seed=0):
    return rollouts.rollout(SPEC, T, B, seed), rollouts.features(SIZES, T, B, A, seed=seed)


def reduced(value, mask):
    return torch.where(mask, value, 0.0).sum() / mask.sum()


def test_where_nothing_changes_the_prediction_is_perfect_from_the_start_and_stays():
    rollout, features = data()
    image = rollout.observation["image"]
    still = rollout._replace(observation={"image": image[:1].expand_as(image)})
    loss = ChangePrediction(ChangePrediction.Config(), SPEC, SIZES)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(3):
        value, mask = loss(still, features)
        assert (value[mask] == 0).all()
        optimizer.zero_grad()
        reduced(value, mask).backward()
        optimizer.step()
    assert figures(loss)["change"].item() == 0
    value, mask = loss(rollout, features)
    assert (value[mask] > 0.01).all()  # random pictures: it is the world that is still, not the loss
    reduced(value, mask).backward()
    assert loss.head.second.bias.grad.abs() > 0


@pytest.mark.parametrize("channels", [None, 2])
def test_change_prediction_compares_with_the_change_that_its_action_led_to(channels):
    loss, (rollout, features) = built(ChangePrediction, channels=channels), data(seed=1)
    value, mask = loss(rollout, features)
    assert value.shape == mask.shape == (T, B)
    assert torch.equal(mask, rollout.valid)
    assert not mask.all()
    # 37 = 2 + 32 + 3 and 43 = 1 + 40 + 2 pixels
    pixels = rollout.observation["image"][:, :, 2:34, 1:41, C - (channels or C) :].double() / 255
    for t in range(T):
        for b in range(B):
            told = torch.zeros(A)
            told[rollout.action[t, b]] = 1
            predicted = loss.head(torch.cat([features.memory[t, b], told]).unsqueeze(0))[0, 0]
            total = 0.0
            for y in range(8):
                for x in range(10):
                    cell = pixels[t : t + 2, b, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                    change = (cell[1] - cell[0]).abs().mean().item()
                    total += (predicted[y, x].item() - change) ** 2
            assert value[t, b].item() == pytest.approx(total / 80, rel=1e-4)


def test_change_prediction_reads_nothing_across_a_reset():
    loss, (rollout, features) = built(ChangePrediction), data(seed=2)
    rollout = rollout._replace(reward=torch.full((T, B), math.nan), discount=torch.full((T, B), math.nan))
    before, mask = loss(rollout, features)
    checked = 0
    for t in range(1, T):
        columns = rollout.last[t]
        image, memory = rollout.observation["image"].clone(), features.memory.detach().clone()
        image[t + 1 :, columns] = torch.randint(256, image[t + 1 :, columns].shape, dtype=torch.uint8)
        memory[t:, columns] = math.nan  # row t's action is ignored
        after, _ = loss(rollout._replace(observation={"image": image}), features._replace(memory=memory))
        kept = mask[:t] & columns
        assert torch.equal(after[:t][kept], before[:t][kept])
        checked += int(kept.sum())
    assert checked > T
    gradient = torch.autograd.grad(reduced(before, mask), features.memory)[0]
    assert torch.equal(gradient.abs().sum(-1)[:-1] > 0, mask)
    assert (gradient[-1] == 0).all()


def test_metrics_of_change_prediction():
    loss, (rollout, features) = built(ChangePrediction), data(seed=3)
    value, mask = loss(rollout, features)
    pixels = rollout.observation["image"][:, :, 2:34, 1:41].double() / 255
    change = (pixels[1:] - pixels[:-1]).abs().unflatten(2, (8, 4)).unflatten(4, (10, 4)).mean((3, 5, 6))[mask]
    error = loss.predict(features.memory[:-1], rollout.action)[mask] - change
    assert figures(loss)["change"].item() == pytest.approx(change.mean().item(), rel=1e-5)
    assert figures(loss)["change_explained_variance"].item() == pytest.approx(
        1 - error.var(correction=0).item() / change.var(correction=0).item(), rel=1e-3
    )
    assert error.square().mean().item() == pytest.approx(reduced(value, mask).item(), rel=1e-5)


@pytest.mark.parametrize("kind", [ChangePrediction, Reconstruction])
def test_gradients_reach_memory_and_every_weight_and_nothing_else(kind):
    loss, (rollout, features) = built(kind), data(seed=4)
    reduced(*loss(rollout, features)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters())
    seen = (features.vector, features.memory, features.logits, *features.value.values())
    assert [x.grad is None for x in seen] == [True, False, True, True]
    assert all(not m.requires_grad for m in figures(loss).values())


@pytest.mark.parametrize("channels", [None, 1])
def test_reconstruction_compares_each_row_with_its_own_picture(channels):
    loss, (rollout, features) = built(Reconstruction, channels=channels), data(seed=5)
    value, mask = loss(rollout, features)
    assert value.shape == mask.shape == (T + 1, B)
    assert mask.all()
    assert (rollout.first | rollout.last).any()
    drawn, image = loss.draw(features.memory).tolist(), rollout.observation["image"].tolist()
    for t, b in ((0, 0), (1, 4), (3, 2), (T, 1)):
        total, count = 0.0, 0
        for y in range(37):
            for x in range(43):
                seen = image[t][b][y][x][C - (channels or C) :]
                for mine, theirs in zip(drawn[t][b][y][x], seen, strict=True):
                    total += (mine - theirs / 255) ** 2
                    count += 1
        assert value[t, b].item() == pytest.approx(total / count, rel=1e-4)
        gradient = torch.autograd.grad(value[t, b], features.memory, retain_graph=True)[0].abs().sum(-1)
        assert gradient.nonzero().tolist() == [[t, b]]


def test_older_frames_of_a_stack_are_not_drawn():
    loss, (rollout, features) = built(Reconstruction, channels=1), data(seed=6)
    before, _ = loss(rollout, features)
    image = rollout.observation["image"].clone()
    image[..., :-1] = 255 - image[..., :-1]
    after, _ = loss(rollout._replace(observation={"image": image}), features)
    assert torch.equal(before, after)
    assert loss.draw(features.memory).shape == (T + 1, B, 37, 43, 1)


@pytest.mark.parametrize("shape", [(84, 84, 3), (72, 96, 2), (20, 23, 1), (37, 43, 5), (67, 71, 3)])
def test_the_decoder_mirrors_the_shallow_torso_at_any_size(shape):
    decoder, torso = PixelDecoder(D, shape), ShallowCNN(shape)
    assert decoder.small == torso.map_shape
    assert decoder(torch.randn(2, D)).shape == (2, *shape)
    down = [m.weight.shape for m in torso.convolutions if isinstance(m, nn.Conv2d)]
    assert [decoder.second.weight.shape, decoder.first.weight.shape] == down


def test_only_edges_that_the_torso_does_not_see_have_nothing_but_the_bias():
    shape = (37, 43, 2)  # (37 - 8) % 4 = 1 row, (43 - 8) % 4 = 3 columns
    drawn = PixelDecoder(D, shape)(torch.randn(13, D))
    varies = drawn.var(0).sum(-1) > 0
    assert not varies[-1].any()
    assert not varies[:, -3:].any()
    assert varies[0, 0]
    assert PixelDecoder(D, (84, 84, 1))(torch.randn(13, D)).var(0).min() > 0


@pytest.mark.parametrize(
    ("kind", "spec", "settings", "sentence"),
    [
        (Reconstruction, rollouts.spec(vector=3), {}, "reconstruction needs images, and this environment shows vector"),
        (ChangePrediction, rollouts.spec(vector=3), {}, "change prediction needs images"),
        (Reconstruction, rollouts.spec(image=(19, 84, 3)), {}, "frames of 19x84 are too small to be reconstructed"),
        (ChangePrediction, rollouts.spec(image=(84, 29, 3)), {}, "a grid of 20x6 cells is not possible"),
        (ChangePrediction, SPEC, {"channels": 4}, "the newest are 1 to 3 of them, not 4"),
        (Reconstruction, SPEC, {"channels": 0}, "the newest are 1 to 3 of them, not 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(kind, spec, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(kind.Config(**settings), spec, SIZES)
