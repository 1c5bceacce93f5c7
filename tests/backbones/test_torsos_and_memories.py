"""Torsos and memories: layout, sizes, resets inside the unroll, any split of an unroll the same."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from morello.backbones import MEMORIES, TORSOS
from morello.backbones.encoder import Encoder
from morello.backbones.episode_age import episode_age
from morello.backbones.recurrent import Recurrent
from morello.envs.experience import Spec

T, B, E, D = 11, 5, 7, 13


def spec(**observation):
    return Spec(observation, 3, ("a", "b", "c"), ("task",), 1, None, True)


class Counter(Recurrent):
    """Counts the rows since the last reset."""

    gates, states = 1, 1

    def cell(self, projected, state):
        return (state[0] + 1,)


def test_counter_core_restarts_at_first_however_the_unroll_is_split():
    counter, first = Counter(E, 1), torch.tensor([[1], [0], [0], [1], [0]], dtype=torch.bool)
    x = torch.zeros(5, 1, E)
    for cuts in ([5], [1, 4], [2, 3], [3, 2], [1, 1, 1, 1, 1]):
        state, outputs = (torch.full((1, 1), 40.0),), []
        for part, flags in zip(x.split(cuts), first.split(cuts), strict=True):
            output, state = counter(part, state, flags)
            outputs.append(output)
        assert torch.cat(outputs).flatten().tolist() == [1, 2, 3, 1, 2]


@pytest.mark.parametrize(("name", "reference"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_memory_equals_torchs_on_every_episode(name, reference):
    ours, theirs = MEMORIES[name](E, D), reference(E, D)
    weights = [ours.input.weight, ours.recurrent.weight, ours.input.bias, ours.recurrent.bias]
    for mine, its in zip(weights, theirs.parameters(), strict=True):
        its.data.copy_(mine)
    x, first = torch.randn(T, B, E), torch.rand(T, B) < 0.25
    start = tuple(torch.randn(B, D) for _ in ours.initial_state(B))
    output, _ = ours(x, start, first)
    for b in range(B):
        begins = [0, *[t for t in range(1, T) if first[t, b]], T]
        for begin, end in pairwise(begins):
            kept = begin == 0 and not first[0, b]
            state = tuple((s[b : b + 1] if kept else torch.zeros(1, D)).unsqueeze(0) for s in start)
            expected, _ = theirs(x[begin:end, b : b + 1], state if name == "lstm" else state[0])
            torch.testing.assert_close(output[begin:end, b], expected[:, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", MEMORIES)
def test_stepped_equals_unrolled(name):
    memory = MEMORIES[name](E, D)
    x, first = torch.randn(T, B, E), torch.rand(T, B) < 0.3
    whole, end = memory(x, memory.initial_state(B), first)
    assert whole.shape == (T, B, memory.size)
    state, steps = memory.initial_state(B), []
    for t in range(T):
        step, state = memory(x[t : t + 1], state, first[t : t + 1])
        steps.append(step)
    torch.testing.assert_close(torch.cat(steps), whole, atol=1e-5, rtol=1e-5)
    for a, b in zip(state, end, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["conv", "transformer"])
def test_any_split_of_a_long_unroll_is_the_same_and_a_state_is_batch_first(name):
    memory = MEMORIES[name](E, D)
    x, first = torch.randn(97, B, E), torch.rand(97, B) < 0.02
    whole, _ = memory(x, memory.initial_state(B), first)
    for cuts in ([41, 56], [2, 3, 5, 87], [96, 1]):
        state, parts = memory.initial_state(B), []
        for part, begun in zip(x.split(cuts), first.split(cuts), strict=True):
            output, state = memory(part, state, begun)
            parts.append(output)
            assert {s.shape[0] for s in state} == {B}
        torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["conv", "transformer"])
def test_an_episode_is_the_same_wherever_it_begins(name):
    memory = MEMORIES[name](E, D)
    x, first = torch.randn(T, 1, E), torch.zeros(T, 1, dtype=torch.bool)
    first[4] = True
    alone, _ = memory(x[4:], memory.initial_state(1), first[4:])
    after, _ = memory(x, memory.initial_state(1), first)
    torch.testing.assert_close(after[4:], alone, atol=1e-6, rtol=1e-6)
    x[:4] = 1e4  # read by nobody; NaN would not do: the weight of what attention must not see is 0, and 0 * NaN is NaN
    assert torch.equal(memory(x, memory.initial_state(1), first)[0][4:], after[4:])


def test_how_far_back_a_row_may_look():
    first = torch.rand(23, B, generator=torch.Generator().manual_seed(0)) < 0.2
    count = torch.tensor([0, 1, 5, 0, 9])
    expected, n = [], count - 1
    for t in range(23):
        n = torch.where(first[t], 0, n + 1)
        expected.append(n)
    assert torch.equal(episode_age(first, count), torch.stack(expected))


def test_the_dilated_convolution_is_the_sum_its_paper_states():
    """Row by row, layer by layer, tap by tap."""
    memory = MEMORIES["conv"](E, D, cond=3, kernel=3, dilations=(1, 2))
    x, cond = torch.randn(T, 1, E), torch.randn(T, 1, 3)
    output, _ = memory(x, memory.initial_state(1), torch.zeros(T, 1, dtype=torch.bool), cond)
    h, total = [memory.input(x[t, 0]) for t in range(T)], [0] * T
    for layer, d in zip(memory.layers, (1, 2), strict=True):
        taps = layer.taps.weight.view(2 * D, 3, D)  # oldest first
        new = []
        for t in range(T):
            a = layer.taps.bias + layer.cond.weight @ cond[t, 0]
            for j in range(3):
                if t - j * d >= 0:
                    a = a + taps[:, 2 - j] @ h[t - j * d]
            z = torch.tanh(a[:D]) * torch.sigmoid(a[D:])
            total[t] = total[t] + layer.skip(z)
            new.append(h[t] if layer.residual is None else h[t] + layer.residual(z))
        h = new
    expected = torch.stack([torch.relu(memory.output(torch.relu(s))) for s in total])
    torch.testing.assert_close(output[:, 0], expected, atol=1e-6, rtol=1e-5)


def test_the_transformer_attends_as_its_paper_states():
    """Query by query, head by head, over what the window holds."""
    memory, width = MEMORIES["transformer"](E, D, layers=1, heads=3, window=4), 5  # of a head
    block = memory.blocks[0]
    block.bias.data.normal_()
    x = torch.randn(T, 1, E)
    output, _ = memory(x, memory.initial_state(1), torch.zeros(T, 1, dtype=torch.bool))
    h = memory.input(x[:, 0])
    normed = block.before(h)
    query, (key, value) = block.query(normed), block.key_value(normed).chunk(2, -1)
    rows = []
    for t in range(T):
        seen = range(max(0, t - 3), t + 1)
        heads = []
        for n, part in enumerate(torch.arange(15).split(width)):
            scores = [query[t, part] @ key[s, part] / width**0.5 + block.bias[n, t - s] for s in seen]
            weights = torch.stack(scores).softmax(0)
            heads.append(sum(w * value[s, part] for w, s in zip(weights, seen, strict=True)))
        y = h[t] + block.joined(torch.cat(heads))
        rows.append(memory.norm(y + block.mlp(block.between(y))))
    torch.testing.assert_close(output[:, 0], torch.stack(rows), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "gru", "conv", "transformer"])
def test_side_information_is_heard_at_once_and_changes_no_row_before(name):
    memory = MEMORIES[name](E, D, cond=3)
    x, cond, first = torch.randn(T, B, E), torch.randn(T, B, 3), torch.zeros(T, B, dtype=torch.bool)
    plain, _ = memory(x, memory.initial_state(B), first, cond)
    changed = cond.clone()
    changed[4, 2] += 1
    other, _ = memory(x, memory.initial_state(B), first, changed)
    assert torch.equal(other[:4], plain[:4])
    assert (other[4, 2] != plain[4, 2]).any()
    assert torch.equal(other[:, :2], plain[:, :2])


@pytest.mark.parametrize("name", ["lstm", "gru", "conv"])
def test_nothing_from_before_a_reset_is_read(name):
    memory = MEMORIES[name](E, D)
    x, first = torch.randn(T, B, E), torch.zeros(T, B, dtype=torch.bool)
    first[4, 2] = True
    x[:4, 2] = torch.nan
    output, _ = memory(x, memory.initial_state(B), first)
    assert torch.isfinite(output[4:]).all()


@pytest.mark.parametrize(("name", "size"), [("nature", 512), ("shallow", 256), ("deep", 256)])
def test_image_torso_reads_hwc_frames_in_any_size(name, size):
    torso = TORSOS[name]((52, 44, 3))
    frames = torch.randint(0, 256, (3, 52, 44, 3), dtype=torch.uint8)
    maps, vector = torso(frames)
    assert vector.shape == (3, size) == (3, torso.size)
    assert maps.shape[1:] == torso.map_shape
    vector.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in torso.parameters())


def test_pixels_are_scaled_and_channels_come_last():
    torso = TORSOS["nature"]((52, 44, 3))
    frames = torch.randint(0, 256, (2, 52, 44, 3), dtype=torch.uint8)
    first = torso.convolutions[0]
    x = torch.stack([frames[..., c] for c in range(3)], dim=1).float() / 255
    for layer in torso.convolutions:
        x = F.conv2d(x, layer.weight, layer.bias, layer.stride) if isinstance(layer, nn.Conv2d) else x.clamp(min=0)
    torch.testing.assert_close(torso(frames)[0], x, atol=1e-5, rtol=1e-4)
    assert first.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("name", "shape"), [("nature", (64, 7, 7)), ("shallow", (32, 9, 9)), ("deep", (32, 11, 11))])
def test_published_sizes_at_84(name, shape):
    assert TORSOS[name]((84, 84, 3)).map_shape == shape


def test_too_small_an_image_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="NatureCNN cannot take images of 20x20"):
        TORSOS["nature"]((20, 20, 3))


def test_encoder_is_the_same_in_chunks_and_joins_image_and_vector():
    both = spec(image=((44, 36, 3), torch.uint8), vector=((5,), torch.float32))
    encoder = Encoder(both, TORSOS["nature"], TORSOS["mlp"])
    observation = {"image": torch.randint(0, 256, (T, B, 44, 36, 3), dtype=torch.uint8), "vector": torch.randn(T, B, 5)}
    maps, vector = encoder(observation)
    encoder.rows = 7
    maps_in_chunks, vector_in_chunks = encoder(observation)
    torch.testing.assert_close(maps, maps_in_chunks, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vector, vector_in_chunks, atol=1e-5, rtol=1e-4)
    assert vector.shape == (T, B, 512 + 64)
    one = {k: v[3:4, 2:3] for k, v in observation.items()}
    torch.testing.assert_close(encoder(one)[1][0, 0], vector[3, 2], atol=1e-5, rtol=1e-4)
    assert encoder.sizes(D) == (encoder.torsos["image"].map_shape, 576, D)


def test_bfloat16_torso_gives_float32_close_to_float32s():
    only = spec(image=((44, 36, 3), torch.uint8))
    encoder = Encoder(only, TORSOS["nature"], TORSOS["mlp"])
    observation = {"image": torch.randint(0, 256, (2, 3, 44, 36, 3), dtype=torch.uint8)}
    exact = encoder(observation)[1]
    encoder.autocast = True
    rough = encoder(observation)[1]
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.1)
    assert not torch.equal(rough, exact)


@pytest.mark.parametrize("name", MEMORIES)
def test_side_information_and_a_memory_built_for_it_go_together(name):
    x, first, cond = torch.randn(T, B, E), torch.zeros(T, B, dtype=torch.bool), torch.randn(T, B, 3)
    without = MEMORIES[name](E, D)
    with pytest.raises(ValueError, match="side information"):
        without(x, without.initial_state(B), first, cond)
    if name != "none":
        built = MEMORIES[name](E, D, cond=3)
        assert not torch.equal(*(built(x, built.initial_state(B), first, c)[0] for c in (cond, 0 * cond)))
        with pytest.raises(ValueError, match="side information"):
            built(x, built.initial_state(B), first)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv", {"dilations": ()}),
        ("conv", {"dilations": (1, 0)}),
        ("conv", {"kernel": 0}),
        ("transformer", {"window": 0}),
        ("transformer", {"layers": 0}),
        ("transformer", {"size": 1}),
    ],
)
def test_memories_that_could_remember_nothing_are_refused(name, options):
    with pytest.raises(ValueError, match=r"1 or more|at least"):
        MEMORIES[name](**{"input_size": E, "size": D, **options})


@pytest.mark.parametrize("name", TORSOS)
def test_an_encoder_that_needs_no_map_gives_the_same_vector_and_gradient(name):
    shape = {"mlp": (6,), "grid": (7, 7, 3)}.get(name, (36, 40, 3))
    kind = torch.float32 if name == "mlp" else torch.uint8
    encoder = Encoder(spec(**{"vector" if name == "mlp" else "image": (shape, kind)}), TORSOS[name], TORSOS["mlp"])
    rows = torch.randint(4, (9, *shape)).to(kind)[torch.randint(9, (T, 30))]  # enough for equal ones to be sought
    observation = dict.fromkeys(encoder.torsos, rows)
    maps, vector = encoder(observation)
    (vector * torch.linspace(-1, 1, vector.shape[-1])).sum().backward()
    gradients = [p.grad.clone() for p in encoder.parameters()]
    encoder.zero_grad()
    none, again = encoder(observation, mapped=False)
    (again * torch.linspace(-1, 1, vector.shape[-1])).sum().backward()
    assert none is None
    assert (maps is None) == (name == "mlp")
    assert torch.equal(vector, again)
    assert all(map(torch.equal, gradients, (p.grad for p in encoder.parameters())))
