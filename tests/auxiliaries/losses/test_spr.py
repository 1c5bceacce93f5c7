"""SPR: a naive transcription, nothing across a reset, who gets gradients, which frames are seen, what is learnt."""

import math

import pytest
import torch
from torch.nn import functional as F

from morello.auxiliaries.losses.spr import SPR, SPRConfig, cosine_loss, renormalised
from morello.auxiliaries.reduction import reduce
from morello.backbones import Grid
from morello.backbones.convolutional import ShallowCNN
from morello.backbones.encoder import Encoder
from morello.backbones.perceptron import Perceptron

from ...support.figures import figures
from ...support.rollouts import features, rollout, spec

T, B, A, K, H, W, C = 11, 3, 13, 5, 23, 29, 7
IMAGE, VECTOR = spec(image=(H, W, C), actions=A), spec(vector=19, actions=A)
ALL = (T + 1) * B


def built(world, augment=False, seed=0, bfloat16=False, **settings):
    torch.manual_seed(seed)
    encoder = Encoder(world, ShallowCNN, Perceptron, bfloat16)
    config = SPRConfig(**{"steps": K, "batch": ALL, **settings}, augment=augment)
    loss = SPR(config, world, encoder.sizes(memory=17))
    loss.attach(encoder)
    return loss, encoder


def experience(world, encoder, seed=1, ends=0.2):
    return rollout(world, T, B, seed, ends), features(encoder.sizes(17), T, B, A, seed=seed)


def test_squared_distance_of_unit_vectors_is_2_minus_2_cos():
    x, y = F.normalize(torch.randn(2, 11, 7), dim=-1)
    torch.testing.assert_close(cosine_loss(x, y), (x - y).square().sum(-1))
    torch.testing.assert_close(cosine_loss(3 * x, 0.1 * y), (x - y).square().sum(-1))
    torch.testing.assert_close(cosine_loss(x, x), torch.zeros(11), atol=1e-6, rtol=0)
    torch.testing.assert_close(cosine_loss(x, -2 * x), torch.full((11,), 4.0))


def test_renormalised_item_by_item():
    z = torch.randn(5, 2, 3, 7)
    z[3] = 4.0
    z.requires_grad_()
    y = renormalised(z)
    for n in (0, 1, 2, 4):
        low, high = min(z[n].flatten().tolist()), max(z[n].flatten().tolist())
        torch.testing.assert_close(y[n], (z[n] - low) / (high - low))
    assert (y[3] == 0).all()
    y.square().sum().backward()
    assert z.grad.isfinite().all()


def convolved(layer, x):
    """One item [c, h, w], by torch's own function, padded by hand."""
    edge = (layer.kernel_size[0] - 1) // 2
    return F.conv2d(F.pad(x, (edge,) * 4).unsqueeze(0), layer.weight, layer.bias)[0]


def scaled(x):
    return (x - x.min()) / (x.max() - x.min())


@torch.no_grad()
def naive(loss, seen, given):
    """{(k, t, b): loss} where there is one, a pair at a time."""
    found = {}
    for t in range(T):
        for b in range(B):
            start = given.vector[t, b].view(-1, 1, 1) if given.map is None else given.map[t * B + b]
            z = scaled(start)
            for k in range(1, K + 1):
                if t + k > T or seen.first[t + k, b]:
                    break
                planes = torch.zeros(A, *z.shape[1:])
                planes[seen.action[t + k - 1, b]] = 1
                hidden = convolved(loss.transition.first, torch.cat([z, planes])).clamp(min=0)
                z = scaled(convolved(loss.transition.second, hidden).clamp(min=0))
                guess = loss.predictor(loss.projection(z.flatten()))
                row = {name: x[t + k, b][None, None] for name, x in seen.observation.items()}
                maps, vector = loss.target_encoder(row)
                truth = loss.target_projection(scaled(vector if maps is None else maps).flatten())
                cos = (guess * truth).sum() / math.sqrt(guess.square().sum() * truth.square().sum())
                found[k, t, b] = 2 - 2 * cos.item()
    return found


@pytest.mark.parametrize("world", [IMAGE, VECTOR], ids=["map", "vector"])
def test_against_a_naive_transcription_with_nan_where_nothing_may_be_read(world):
    loss, encoder = built(world)
    with torch.no_grad():
        for p in (*loss.target_encoder.parameters(), *loss.target_projection.parameters()):
            p += 0.03 * torch.randn_like(p)  # a target of its own
    seen, given = experience(world, encoder)
    expected = naive(loss, seen, given)
    starts = {(t, b) for _, t, b in expected}
    assert 5 < len(starts) < T * B  # some have nothing ahead
    assert {k for k, t, _ in expected if t + k == T} == set(range(1, K + 1))  # the last row is a target of each step
    with torch.no_grad():
        for t in range(T + 1):
            for b in range(B):
                if (t, b) not in starts:
                    (given.vector[t, b] if given.map is None else given.map[t * B + b]).fill_(math.nan)
    targets = {(t + k, b) for k, t, b in expected}
    for t, b in {(t, b) for t in range(T + 1) for b in range(B)} - targets:
        for x in seen.observation.values():
            x[t, b] = math.nan if x.is_floating_point() else 255
    value, mask = loss(seen, given)
    assert value.shape == mask.shape == (K, ALL)
    for k in range(1, K + 1):
        for t in range(T + 1):
            for b in range(B):
                at = k - 1, t * B + b
                assert mask[at].item() == ((k, t, b) in expected)
                assert value[at].item() == pytest.approx(expected.get((k, t, b), 0.0), abs=1e-5)
    assert (value[~mask] == 0).all()
    torch.testing.assert_close(figures(loss)["loss_by_step"], torch.stack([reduce(*x) for x in zip(value, mask)]))
    torch.testing.assert_close(figures(loss)["cosine"], 1 - reduce(value, mask) / 2)

    reduce(value, mask).backward()
    leaf = given.vector.grad if given.map is None else given.map.grad.unflatten(0, (T + 1, B))
    for t in range(T + 1):
        for b in range(B):
            assert (leaf[t, b].abs().sum() > 0).item() == ((t, b) in starts)
    assert leaf.isfinite().all()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in loss.parameters() if p.requires_grad)


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("j", [1, 2, 3])
def test_after_an_end_at_step_j_the_loss_of_later_steps_is_exactly_0(j, augment):
    loss, encoder = built(IMAGE, augment)
    seen, given = experience(IMAGE, encoder, ends=0)
    seen.last[j, 1], seen.first[j + 1, 1] = True, True
    value, mask = loss(seen, given)
    for k in range(1, K + 1):
        assert mask[k - 1, 1].item() == (k <= j)  # of row 0, environment 1
        assert (value[k - 1, 1] > 0.01).item() == (k <= j)
    assert (value[j:, 1] == 0).all()


def test_not_augmented_the_agents_unroll_is_trained_and_the_target_is_not():
    loss, encoder = built(IMAGE)
    seen, given = experience(IMAGE, encoder)
    reduce(*loss(seen, given)).backward()
    target = [*loss.target_encoder.parameters(), *loss.target_projection.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in target)
    assert all(p.grad is None for p in encoder.parameters())  # these features are a leaf
    assert given.map.grad.any()
    assert not {id(p) for p in encoder.parameters()} & {id(p) for p in loss.parameters()}
    assert any(name.startswith("target_encoder.") for name in loss.state_dict())


@pytest.mark.parametrize("bfloat16", [False, True])
def test_augmented_the_encoder_is_trained_and_the_agents_unroll_is_not(bfloat16):
    loss, encoder = built(IMAGE, augment=True, bfloat16=bfloat16)
    seen, given = experience(IMAGE, encoder)
    value, mask = loss(seen, given)
    assert value.dtype == torch.float32
    reduce(value, mask).backward()
    assert all(p.grad.any() for p in (*encoder.torsos["image"].convolutions.parameters(), *loss.parameters()))
    assert all(x.grad is None for x in (*given[:-1], *given.value.values()))
    assert not any("target" in name for name in loss.state_dict())


def test_augmented_nothing_comes_back_from_the_target():
    """With a transition that says the same whatever it is told, only the target depends on the encoder."""
    loss, encoder = built(IMAGE, augment=True)
    torch.nn.init.zeros_(loss.transition.second.weight)
    reduce(*loss(*experience(IMAGE, encoder))).backward()
    assert not any(p.grad is not None and p.grad.any() for p in encoder.parameters())
    assert loss.predictor.bias.grad.any()


def test_a_hundredth_of_the_new_weights_enters_the_target():
    loss, encoder = built(VECTOR, momentum=0.01)
    pairs = [(loss.target_encoder, encoder), (loss.target_projection, loss.projection)]
    pairs = [(t, o) for a, b in pairs for t, o in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(torch.equal(t, o) for t, o in pairs)
    with torch.no_grad():
        for _, o in pairs:
            o += torch.randn_like(o)
    before = [(t.clone(), o.clone()) for t, o in pairs]
    loss.after_update()
    for (t, o), (old, new) in zip(pairs, before, strict=True):
        torch.testing.assert_close(t, 0.99 * old + 0.01 * new)
        assert torch.equal(o, new)


def test_augmented_both_sides_see_the_right_rows_each_in_its_own_way():
    """A frame's colour is its row in binary, which augmentation leaves legible."""
    loss, encoder = built(IMAGE, augment=True, batch=11)
    seen, given = experience(IMAGE, encoder, ends=0)
    assert 2**C > ALL
    row = torch.arange(ALL).view(T + 1, B, 1, 1, 1)
    seen.observation["image"][:] = 200 * (row >> torch.arange(C) & 1)
    seen.observation["image"][..., ::3, ::5, 0] //= 4  # something that moves
    shown = []
    encoder.register_forward_pre_hook(lambda _, arguments: shown.append(arguments[0]["image"]))
    _, mask = loss(seen, given)
    start, ahead = (((x[..., 1, 0, :] > 30).long() << torch.arange(C)).sum(-1) for x in shown)
    assert start.shape == (1, 11)
    assert (start < T * B).all()  # a step ahead, each
    assert len(set(start[0].tolist())) == 11
    for k in range(K):
        assert mask[k].tolist() == [s + (k + 1) * B < ALL for s in start[0].tolist()]
        assert torch.equal(ahead[k][mask[k]], (start[0] + (k + 1) * B)[mask[k]])
    plain = seen.observation["image"][0, 1, ..., 0]  # row 1, the last binary digit is set
    for x in shown:
        spotted = x[x[..., 1, 0, 0] > 30][..., 0]
        assert len(spotted) > 3
        assert sum(torch.equal(a > 100, plain > 100) for a in spotted) < len(spotted) / 2  # shifted
        assert len(spotted.flatten(1).amax(1).unique()) > 3  # brightened
    same = [(a, b) for a in shown[0][0] for b in shown[1].flatten(0, 1) if torch.equal(a, b)]
    assert len(same) < 3
    loss(seen, given)
    assert not torch.equal(shown[0], shown[2])  # other rows the next time


@pytest.mark.parametrize("augment", [False, True])
def test_a_loaded_copy_answers_bit_for_bit(augment):
    (loss, encoder), (other, _) = built(IMAGE, augment, batch=11), built(IMAGE, augment, seed=1, batch=11)
    other.attach(encoder)
    seen, given = experience(IMAGE, encoder)
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.5)
    loss.after_update()
    loss(seen, given)  # the generator has moved, too
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(seen, given)[0], loss(seen, given)[0])
    assert not torch.equal(other(seen, given)[0], other(seen, given)[0])


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"SPR with augmentation .* needs images, and this environment shows vector"):
        built(VECTOR, augment=True)
    with pytest.raises(ValueError, match="1 step ahead or more, not 0"):
        built(VECTOR, steps=0)
    codes = Encoder(IMAGE, Grid, Perceptron)
    loss = SPR(SPRConfig(), IMAGE, codes.sizes(17))
    with pytest.raises(ValueError, match="torso grid reads them as codes"):
        loss.attach(codes)
    SPR(SPRConfig(augment=False), IMAGE, codes.sizes(17)).attach(codes)
