"""Autoregressive models: normalised, stepped as unrolled, sampled by their own law."""

import itertools
import math
from functools import partial

import pytest
import torch

from morello.backbones.autoregressive import (
    NETWORKS,
    Autoregressive,
    Given,
    GivenSizes,
    Ordering,
    frames,
    permuted,
    raster,
    time,
)
from morello.backbones.autoregressive.heads import Bernoulli, Categorical, DiscretisedLogisticMixture, GaussianMixture
from morello.backbones.autoregressive.networks import Sequence
from morello.backbones.dilated import Dilated

from ...support.networks import GRIDS, SEQUENCES

KNOWN = GivenSizes(glob=3, local=2, memory=6)


def random_model(ordering, head, network, sizes=GivenSizes()):
    """In float64, with weights far from zero."""
    torch.manual_seed(0)
    model = Autoregressive(ordering, head, partial(NETWORKS[network], size=8), sizes).double()
    for parameter in model.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return model


def everything(model):
    """Every item there is."""
    events = list(model.head.support())
    sequences = torch.stack([torch.stack(s) for s in itertools.product(events, repeat=model.ordering.length)], dim=1)
    return model.ordering.from_sequence(sequences)


def told(model, count):
    """Side information, the same for ``count`` items."""
    torch.manual_seed(1)
    glob, local, memory = torch.randn(1, 3), torch.randn(1, *model.ordering.places, 2), torch.randn(1, 5, 6)
    known = (x.double().expand(count, *x.shape[1:]) for x in (glob, local, memory))
    return Given(*known, torch.tensor([[True, False, True, True, False]]).expand(count, -1))


SPACES = {
    "binary 2 x 3": lambda: (raster(2, 3, 1), Bernoulli(5)),
    "2 pixels of 3 channels": lambda: (raster(1, 2, 3), Categorical(2, 5)),
    "whole pixels": lambda: (raster(2, 1, 3, whole_pixels=True), DiscretisedLogisticMixture(2, 3, 2, 5)),
    "text": lambda: (time(4), Categorical(3, 5)),
    "video": lambda: (frames(2, raster(1, 2, 1)), Categorical(3, 5)),
    "permuted": lambda: (permuted(raster(2, 2, 1), torch.tensor([2, 0, 3, 1])), Categorical(3, 5)),
}

CASES = [(space, network) for space in SPACES for network in SEQUENCES]


CASES += [(space, network) for space in list(SPACES)[:3] for network in GRIDS]


@pytest.mark.parametrize("informed", [False, True])
@pytest.mark.parametrize(("space", "network"), CASES)
def test_probabilities_sum_to_one_and_are_the_same_event_by_event(space, network, informed):
    ordering, head = SPACES[space]()
    model = random_model(ordering, head, network, KNOWN if informed else GivenSizes())
    x = everything(model)
    given = told(model, len(x)) if informed else Given()
    log_prob = model.log_prob(x, given)
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-10)
    assert log_prob.std() > 0.1
    events, stream, total = ordering.to_sequence(x), model.begin(len(x), given), 0
    for event in events:
        total = total + head.log_prob(stream.parameters, event)
        stream = model.tell(event, stream)
    torch.testing.assert_close(total, log_prob, atol=1e-10, rtol=1e-10)
    surprise = model.log_prob(x, given, reduce="none")
    assert surprise.shape == (len(x), *ordering.places)
    torch.testing.assert_close(surprise.flatten(1).sum(1), log_prob)


@pytest.mark.parametrize("part", ["glob", "local", "memory"])
@pytest.mark.parametrize("network", [*SEQUENCES, *GRIDS])
def test_every_part_of_what_is_known_matters_from_the_first_event_on(network, part):
    model = random_model(raster(2, 3, 1), Bernoulli(5), network, KNOWN)
    given = told(model, 1)
    changed = given._replace(**{part: getattr(given, part) + 1})
    x = torch.zeros(1, 2, 3, 1)
    unknown = given._replace(**{part: None, **({"mask": None} if part == "memory" else {})})
    terms = [model.log_prob(x, g, reduce="none") for g in (given, changed, unknown)]
    for other in terms[1:]:
        assert (terms[0] != other)[0, 0, 0, 0]
        assert (terms[0] != other).all()


def test_a_masked_entry_of_the_memory_is_not_read():
    model = random_model(time(4), Categorical(3, 5), "gru", KNOWN)
    x = torch.zeros(1, 4, dtype=torch.int64)
    given = told(model, 1)
    hidden = torch.where(given.mask.unsqueeze(-1), given.memory, 1e6)
    assert torch.equal(model.log_prob(x, given), model.log_prob(x, given._replace(memory=hidden)))


def test_what_a_model_was_not_built_for_is_refused():
    model = random_model(time(4), Categorical(3, 5), "gru")
    with pytest.raises(ValueError, match=r"built without glob: build it with GivenSizes\(glob=...\)"):
        model.log_prob(torch.zeros(1, 4, dtype=torch.int64), Given(glob=torch.zeros(1, 3)))
    with pytest.raises(ValueError, match="give memory as well"):
        model.log_prob(torch.zeros(1, 4, dtype=torch.int64), Given(mask=torch.ones(1, 3, dtype=torch.bool)))
    with pytest.raises(ValueError, match=r"events of shape \(3,\), the head \(\)"):
        Autoregressive(raster(2, 2, 3, whole_pixels=True), Categorical(3), NETWORKS["pixel-cnn"])
    with pytest.raises(ValueError, match="raster order"):
        Autoregressive(permuted(raster(2, 2, 1), torch.arange(3, -1, -1)), Categorical(3), NETWORKS["pixel-cnn"])
    with pytest.raises(ValueError, match="raster order"):
        Autoregressive(time(5), Categorical(3), NETWORKS["gated-pixel-cnn"])


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("glob", (4, 1, 3)),
        ("glob", (1, 3)),
        ("glob", (3,)),
        ("glob", (4, 2)),
        ("local", (4, 2)),
        ("local", (4, 1, 2)),
        ("local", (4, 4, 1)),
        ("local", (1, 4, 2)),
        ("memory", (4, 6)),
        ("memory", (1, 5, 6)),
        ("memory", (4, 5, 3)),
        ("mask", (4, 6)),
        ("mask", (5,)),
        ("mask", (1, 5)),
        ("mask", (4, 1, 5)),
    ],
)
def test_side_information_of_another_shape_is_refused(part, shape):
    """A class [B, 1, G] would be one an event where there are as many items as events."""
    model = random_model(time(4), Categorical(3, 5), "gru", KNOWN)
    x, given = torch.zeros(4, 4, dtype=torch.int64), told(model, 4)
    wrong = torch.ones(shape, dtype=torch.bool) if part == "mask" else torch.zeros(shape).double()
    with pytest.raises(ValueError, match=rf"{part} of this \w+ is \[4.*\], not"):
        model.log_prob(x, given._replace(**{part: wrong}))
    with pytest.raises(ValueError, match="a mask is bool"):
        model.log_prob(x, given._replace(mask=given.mask.double()))


@pytest.mark.parametrize("network", ["gru", "transformer", "gated-pixel-cnn"])
def test_samples_follow_the_models_own_law(network):
    model = random_model(raster(2, 2, 1), Bernoulli(5), network)
    x = everything(model)
    expected = model.log_prob(x).exp().detach()
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(5))
    weights = 2 ** torch.arange(4)
    counts = torch.bincount((drawn.flatten(1) * weights).sum(1), minlength=16).double()
    expected = expected[(x.flatten(1) * weights).sum(1).argsort()] * 20_000
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    assert statistic < 37.7  # 99.9 % of chi-square with 15 degrees of freedom


def test_a_prefix_stays_and_what_follows_is_drawn_given_it():
    model = random_model(raster(2, 2, 1), Categorical(3, 5), "lstm")
    prefix = torch.randint(3, (6_000, 3), generator=torch.Generator().manual_seed(1))
    drawn = model.sample(6_000, prefix=prefix, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model.ordering.to_sequence(drawn)[:3].T, prefix)
    rows = (prefix == torch.tensor([2, 0, 1])).all(1)
    x = torch.tensor([[2, 0, 1, k] for k in range(3)])
    wanted = model.log_prob(x.view(3, 2, 2, 1)).softmax(0)
    got = torch.bincount(drawn[rows].flatten(1)[:, 3], minlength=3) / rows.sum()
    assert rows.sum() > 150
    torch.testing.assert_close(got.double(), wanted, atol=0.13, rtol=0)


def test_temperature_zero_takes_the_likeliest_event_each_time():
    model = random_model(time(4), Categorical(3, 5), "conv")
    chosen = model.sample(1, temperature=0.0)[0]
    for t in range(4):
        others = torch.stack([torch.cat([chosen[:t], torch.tensor([k]), chosen[t + 1 :]]) for k in range(3)])
        terms = model.log_prob(others, reduce="none")[:, t]
        assert terms.argmax() == chosen[t]


@pytest.mark.parametrize("network", ["lstm", "gated-pixel-cnn"])
def test_fitting_an_item_makes_it_likelier_and_says_by_how_much(network):
    model = random_model(raster(3, 4, 1), Bernoulli(5), network).float()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randint(2, (5, 3, 4, 1), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = model.log_prob(x)
    before, after = model.fit(x, optimizer)
    torch.testing.assert_close(before, expected)
    torch.testing.assert_close(after, model.log_prob(x).detach())
    assert (after - before).mean() > 0
    assert not before.requires_grad


def test_a_stream_of_text_knows_no_absolute_time():
    """What a convolution says of an event depends on the events within reach alone."""
    model = random_model(time(40), Categorical(3, 5), "conv")
    model.network = Sequence(model.ordering, 5, model=partial(Dilated, dilations=(1, 2)), size=8).double()
    x = torch.randint(3, (1, 40))
    twice = torch.cat([x[:, 20:], x[:, 20:]], 1)
    terms = model.log_prob(twice, reduce="none")
    torch.testing.assert_close(terms[:, 10:20], terms[:, 30:40], atol=1e-12, rtol=0)


@pytest.mark.parametrize("network", [*SEQUENCES, *GRIDS])
def test_every_parameter_learns(network):
    model = random_model(raster(2, 3, 1), Bernoulli(5), network, KNOWN)
    x, given = torch.randint(2, (5, 2, 3, 1)), told(model, 5)
    (model.log_prob(x, given).sum() + model.log_prob(x).sum()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_a_functional_copy_takes_the_step():
    model = random_model(time(4), Categorical(3, 5), "gru")
    x = torch.randint(3, (2, 4))
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    before = torch.func.functional_call(model, weights, (x,))
    slopes = torch.autograd.grad(before.sum(), list(weights.values()))
    after = {name: w + 1e-4 * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
    assert (torch.func.functional_call(model, after, (x,)) > before).all()
    assert torch.equal(model.log_prob(x), before)


@pytest.mark.parametrize("network", ["lstm", "gru", "transformer", "conv"])
def test_low_precision_leaves_nats_and_gains_alone(network):
    torch.manual_seed(3)
    x = torch.randint(50, (4, 20))
    gains = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model = Autoregressive(time(20), Categorical(50), partial(NETWORKS[network], size=16))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            before, after = model.fit(x, optimizer)
        assert before.dtype == after.dtype == torch.float32
        gains.append(after - before)
    torch.testing.assert_close(gains[1], gains[0], rtol=0.1, atol=0.05)


def test_a_density_in_bfloat16_integrates_to_one():
    """Its parameters are rough, its data are not."""
    torch.manual_seed(0)
    model = Autoregressive(time(1), GaussianMixture(2), partial(NETWORKS["gru"], size=8)).bfloat16()
    model.output.bias.data[4:] = -3  # narrow: the step of a number in bfloat16 is a large part of it
    model.output.bias.data[2:4] = torch.tensor([3.0, 4.0])
    grid = torch.linspace(0, 8, 20_001)
    with torch.no_grad():
        density = model.log_prob(grid.unsqueeze(1)).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-3)


def test_what_does_not_fit_is_refused():
    model = random_model(raster(2, 3, 1), Bernoulli(5), "lstm")
    for shape in ((1, 3, 2, 1), (1, 2, 3), (1, 2, 6, 1)):
        with pytest.raises(ValueError, match=r"items are \[B, 2, 3, 1\]"):
            model.log_prob(torch.zeros(shape))
    with pytest.raises(ValueError, match="'sum' or 'none'"):
        model.log_prob(torch.zeros(1, 2, 3, 1), reduce="mean")
    stream = model.begin(1)
    for _ in range(6):
        stream = model.tell(torch.zeros(1), stream)
    with pytest.raises(ValueError, match="all 6 events"):
        model.tell(torch.zeros(1), stream)
    for wrong in (torch.zeros(2), torch.zeros(()), torch.zeros(1, 1)):
        with pytest.raises(ValueError, match=r"next event of this stream is \[1\], not"):
            model.tell(wrong, model.begin(1))
    for prefix in (torch.zeros(3, 2), torch.zeros(2, 7), torch.zeros(2), torch.zeros(2, 1, 1)):
        with pytest.raises(ValueError, match="prefix"):
            model.sample(2, prefix=prefix)
    pixels = random_model(raster(2, 1, 3, whole_pixels=True), DiscretisedLogisticMixture(2, 3, 2, 5), "lstm")
    for prefix in (torch.zeros(2, 1), torch.zeros(2, 1, 1)):
        with pytest.raises(ValueError, match=r"prefix is \[2, t, 3\]"):
            pixels.sample(2, prefix=prefix.long())
    for temperature in (-1.0, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            model.sample(2, temperature=temperature)
    with pytest.raises(ValueError, match="odd kernel"):
        NETWORKS["pixel-cnn"](raster(3, 3, 1), 4, first=4)
    with pytest.raises(ValueError, match="raster order"):
        NETWORKS["gated-pixel-cnn"](frames(2, raster(3, 3, 1)), 4)
    for shape, event_dims in (((3,), 1), ((), 0), ((3,), -1)):
        with pytest.raises(ValueError, match="has no places with event_dims"):
            Ordering(shape, event_dims)
