"""CURL: closed forms, who gets gradients, keys that follow, what is told apart."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from morello.auxiliaries.losses.curl import CURL, CURLConfig
from morello.auxiliaries.reduction import reduce
from morello.backbones import Sizes
from morello.backbones.convolutional import ShallowCNN
from morello.backbones.encoder import Encoder
from morello.backbones.perceptron import Perceptron

from ...support.figures import figures
from ...support.rollouts import rollout, spec
from ...support.shifts import generator, offsets

N, H, W, C, PAD, LATENT = 13, 23, 29, 3, 2, 7
WORLD = spec(image=(H, W, C))


class Painted(nn.Module):
    """Reads the value of a frame of one colour, and answers with that row of a table."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, observation):
        return None, self.table[observation["image"][..., 0, 0, 0].long()]


def painted(query, key, weight):
    """CURL of colours 0 to N - 1, with codes as given [N, D] and without projections, and its windows."""
    loss = CURL(CURLConfig(batch=N, latent=query.shape[1]), WORLD, Sizes(None, query.shape[1], 17))
    loss.attach(Painted(query))
    loss.key_encoder = Painted(key)
    loss.projection, loss.key_projection = nn.Identity(), nn.Identity()
    loss.head.weight.data = weight.unsqueeze(0)
    seen = rollout(WORLD, 1, N, ends=0)
    seen.observation["image"][0] = torch.arange(N, dtype=torch.uint8).view(N, 1, 1, 1)
    return loss, seen


def test_equal_codes_give_log_n_and_no_hit():
    loss, seen = painted(torch.ones(N, 5), torch.ones(N, 5), torch.randn(5, 5))
    value, mask = loss(seen, None)
    torch.testing.assert_close(value, torch.full((N,), math.log(N)))
    assert mask.all()
    assert figures(loss)["accuracy"] == 0
    assert figures(loss)["chance"].item() == pytest.approx(1 / N)


def test_orthonormal_codes_have_a_closed_form():
    s, (codes, _) = 1.7, torch.linalg.qr(torch.randn(N, N))
    loss, seen = painted(codes, codes, s * torch.eye(N))
    value, _ = loss(seen, None)
    torch.testing.assert_close(value, torch.full((N,), math.log(1 + (N - 1) * math.exp(-s))))
    assert figures(loss)["accuracy"] == 1


def test_cross_entropy_against_the_identity_one_by_one():
    query, key, weight = torch.randn(N, 5), torch.randn(N, 5), torch.randn(5, 5)
    loss, seen = painted(query, key, weight)
    value, _ = loss(seen, None)
    query, key, weight = query.tolist(), key.tolist(), weight.tolist()
    for n in range(N):
        scores = [sum(key[m][i] * weight[i][j] * query[n][j] for i in range(5) for j in range(5)) for m in range(N)]
        expected = math.log(sum(math.exp(s) for s in scores)) - scores[n]
        assert value[n].item() == pytest.approx(expected, abs=1e-4)


def test_windows_that_are_none_are_neither_told_nor_told_from():
    loss, seen = painted(torch.ones(N, 5), torch.ones(N, 5), torch.randn(5, 5))
    seen.last[0, :6] = True
    with torch.no_grad():
        loss.key_encoder.table[:6] = math.nan
        loss.encoder.table[:6] = math.nan
        loss.encoder.table[0] = 1  # what is looked at instead of them
        loss.key_encoder.table[0] = 1
    value, mask = loss(seen, None)
    assert mask.tolist() == [False] * 6 + [True] * 7
    torch.testing.assert_close(value, torch.tensor([0.0] * 6 + [math.log(7)] * 7))
    reduce(value, mask).backward()
    assert loss.encoder.table.grad.isfinite().all()


def built(seed=0, bfloat16=False):
    torch.manual_seed(seed)
    encoder = Encoder(WORLD, ShallowCNN, Perceptron, bfloat16)
    loss = CURL(CURLConfig(batch=N, pad=PAD, latent=LATENT), WORLD, encoder.sizes(memory=17))
    loss.attach(encoder)
    return loss, encoder


@pytest.mark.parametrize(("side", "pad"), [(84, 8), (36, 3), (7, 1)])
def test_crops_move_by_the_papers_share_of_the_frame(side, pad):
    world = WORLD._replace(observation={"image": ((side, side + 5, 3), torch.uint8)})
    assert CURL(CURLConfig(batch=N), world, Sizes(None, 7, 11)).pad == pad


def test_crops_beyond_the_frame_are_refused():
    world = WORLD._replace(observation={"image": ((7, 7, 3), torch.uint8)})
    with pytest.raises(ValueError, match="7x7 frames move by less than their size, not by 8"):
        CURL(CURLConfig(batch=N, pad=8), world, Sizes(None, 7, 11))


def test_query_and_key_see_crops_of_their_own_of_the_first_frame():
    loss, encoder = built()
    seen, shown = rollout(WORLD, 1, N, ends=0), []
    for module in (encoder, loss.key_encoder):
        module.register_forward_pre_hook(lambda _, arguments: shown.append(arguments[0]["image"][0]))
    loss(seen, None)
    found = [[offsets(seen.observation["image"][0, n], crops[n], PAD) for n in range(N)] for crops in shown]
    query, key = ([place for (place,) in one] for one in found)
    assert min(len(set(query)), len(set(key))) > 5
    assert sum(a != b for a, b in zip(query, key, strict=True)) > 5


@pytest.mark.parametrize("bfloat16", [False, True])
def test_gradients_reach_the_encoder_and_never_the_keys(bfloat16):
    loss, encoder = built(bfloat16=bfloat16)
    value, mask = loss(rollout(WORLD, 1, N, ends=0), None)
    assert value.shape == mask.shape == (N,)
    assert value.dtype == torch.float32
    reduce(value, mask).backward()
    own = [*loss.projection.parameters(), *loss.head.parameters()]
    assert all(p.grad.abs().sum() > 0 for p in (*own, *encoder.torsos["image"].convolutions.parameters()))
    keys = [*loss.key_encoder.parameters(), *loss.key_projection.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in keys)
    assert {id(p) for p in loss.parameters()} == {id(p) for p in own + keys}  # W is there; the agent's encoder is not
    assert any(name.startswith("key_encoder.") for name in loss.state_dict())


def test_keys_move_a_twentieth_of_the_way_after_an_update():
    loss, encoder = built()
    pairs = [(loss.key_encoder, encoder), (loss.key_projection, loss.projection)]
    pairs = [(k, q) for a, b in pairs for k, q in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(torch.equal(k, q) for k, q in pairs)
    with torch.no_grad():
        for _, q in pairs:
            q += torch.randn_like(q)
    before = [(k.clone(), q.clone()) for k, q in pairs]
    loss.after_update()
    for (k, q), (old, new) in zip(pairs, before, strict=True):
        torch.testing.assert_close(k, 0.95 * old + 0.05 * new)
        assert torch.equal(q, new)


def test_a_loaded_copy_answers_bit_for_bit():
    (loss, encoder), (other, _) = built(), built(seed=1)
    other.attach(encoder)
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.5)
    loss.after_update()
    seen = rollout(WORLD, 1, N, ends=0)
    loss(seen)  # the generator has moved, too
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(seen)[0], loss(seen)[0])
    assert not torch.equal(other(seen)[0], other(seen)[0])


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="CURL needs images, and this environment shows vector"):
        CURL(CURLConfig(), spec(vector=5), Sizes(None, 5, 7))
    with pytest.raises(ValueError, match="batch of 2 or more, not 1"):
        CURL(CURLConfig(batch=1), WORLD, Sizes(None, 5, 7))
    assert (CURL.data, CURL.length, CURL.skewed) == ("transition_replay", 1, False)


@pytest.mark.slow
@pytest.mark.parametrize("varied", [True, False])
def test_tells_frames_apart_and_not_those_that_are_the_same(varied):
    """Frames of a few large patches, new ones at each update; the control is one frame all the time."""
    loss, encoder = built()
    seen = rollout(WORLD, 1, 61, ends=0)
    optimizer = torch.optim.Adam([*loss.parameters(), *encoder.parameters()], 3e-3)

    accuracies = []
    for update in range(170):
        patches = torch.rand(61 if varied else 1, C, 3, 4, generator=generator(update if varied else 0)) * 255
        seen.observation["image"][0] = F.interpolate(patches, (H, W)).permute(0, 2, 3, 1).to(torch.uint8)
        optimizer.zero_grad()
        reduce(*loss(seen, None)).backward()
        optimizer.step()
        loss.after_update()
        accuracies.append(figures(loss)["accuracy"].item())  # of frames that it has not seen before, where they vary
    accuracy = sum(accuracies[-20:]) / 20
    assert accuracy > 0.45 if varied else accuracy < 0.06  # chance is 1 / 61 = 0.016
