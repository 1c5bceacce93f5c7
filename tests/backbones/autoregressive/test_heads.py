"""Output heads: sums and integrals of one, oracles of their own, sampling by the law they state."""

import math
from functools import partial

import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, MixtureSameFamily, Normal

from morello.backbones.autoregressive.heads import (
    HEADS,
    Bernoulli,
    Categorical,
    DiscretisedLogisticMixture,
    GaussianMixture,
)
from morello.backbones.autoregressive.heads.base import Head
from morello.backbones.autoregressive.heads.logistic_mixture import log_mass

N = 7


def parameters(head, scale=1.5, count=N):
    return scale * torch.randn(count, head.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    "head",
    [
        Categorical(5),
        Bernoulli(),
        DiscretisedLogisticMixture(11, components=3),
        DiscretisedLogisticMixture(4, 3, components=2),
        DiscretisedLogisticMixture(3, 2, components=5),
    ],
    ids=lambda head: f"{type(head).__name__} {head.size}",
)
@pytest.mark.parametrize("scale", [0.3, 3.0, 12.0])
def test_the_probabilities_of_all_events_sum_to_one(head, scale):
    every = head.double().support()
    rows = parameters(head, scale).unsqueeze(1).expand(N, len(every), head.size)
    log_prob = head.log_prob(rows, every.unsqueeze(0).expand(N, *every.shape))
    assert log_prob.isfinite().all()
    torch.testing.assert_close(log_prob.exp().sum(1), torch.ones(N, dtype=torch.float64), atol=1e-12, rtol=0)


def logistic_cdf(x, mean, scale):
    return 1 / (1 + math.exp(-(x - mean) / scale))


def test_colours_are_drawn_channel_by_channel_from_bins_of_logistics():
    """A transcription with numbers, one component and one colour at a time."""
    levels, K = 5, 2
    head = DiscretisedLogisticMixture(levels, 3, components=K).double()
    row = parameters(head, count=1)[0]
    logits, parts = row[:K], row[K:].view(K, 9)
    half = 1 / (levels - 1)
    for colour in [(0, 4, 2), (3, 0, 4), (1, 1, 1), (4, 4, 0)]:
        v = [2 * c / (levels - 1) - 1 for c in colour]
        total = 0.0
        for k in range(K):
            m, s, raw = parts[k, :3].tolist(), parts[k, 3:6].exp().tolist(), parts[k, 6:].tanh().tolist()
            means = [m[0], m[1] + raw[0] * v[0], m[2] + raw[1] * v[0] + raw[2] * v[1]]
            mass = 1.0
            for c in range(3):
                low = 0.0 if colour[c] == 0 else logistic_cdf(v[c] - half, means[c], s[c])
                high = 1.0 if colour[c] == levels - 1 else logistic_cdf(v[c] + half, means[c], s[c])
                mass *= high - low
            total += float(logits.softmax(0)[k]) * mass
        got = head.log_prob(row, torch.tensor(colour)).exp().item()
        assert got == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("mean", [-30.0, -1.0, -0.3, 0.99, 4.0])
def test_masses_are_finite_with_finite_slopes_at_the_narrowest_scale(mean):
    levels = 256
    x = torch.linspace(-1, 1, levels)
    centre, scale = torch.tensor(mean, requires_grad=True), torch.tensor(-7.0, requires_grad=True)
    mass = log_mass(x, centre, scale, levels)
    assert mass.isfinite().all()
    assert mass.logsumexp(0).item() == pytest.approx(0, abs=1e-4)
    for slope in torch.autograd.grad(mass.sum(), (centre, scale)):
        assert slope.isfinite()


def test_no_scale_is_narrower_than_the_limit():
    for head in (DiscretisedLogisticMixture(256, components=1), GaussianMixture(1)):
        low, lower = (torch.tensor([0.0, 0.1, log_scale]) for log_scale in (-7.0, -50.0))
        event = torch.tensor(128)
        assert torch.equal(head.log_prob(low, event), head.log_prob(lower, event))


@pytest.mark.parametrize("dims", [None, 2])
def test_a_mixture_of_gaussians_is_torchs(dims):
    K, D = 3, dims or 1
    head = GaussianMixture(K, dims)
    rows = parameters(head)
    mean, log_scale = rows[:, K : K + K * D].view(N, K, D), rows[:, K + K * D :].view(N, K, D)
    x = torch.randn(N, D, dtype=torch.float64)
    theirs = MixtureSameFamily(TorchCategorical(logits=rows[:, :K]), Independent(Normal(mean, log_scale.exp()), 1))
    ours = head.log_prob(rows, (x if dims else x.squeeze(1)))
    torch.testing.assert_close(ours, theirs.log_prob(x).double(), atol=1e-6, rtol=1e-6)


def test_a_density_integrates_to_one():
    head = GaussianMixture(3)
    grid = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    density = head.log_prob(parameters(head, 1.0, 1), grid).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-6)


def test_a_grey_pixel_is_a_soft_target():
    head = Bernoulli()
    row, grey = torch.tensor([0.7]), 0.25
    p = torch.sigmoid(row).item()
    expected = grey * math.log(p) + (1 - grey) * math.log(1 - p)
    assert head.log_prob(row, torch.tensor(grey)).item() == pytest.approx(expected, rel=1e-6)


DRAWN = {
    "categorical": Categorical(5),
    "bernoulli": Bernoulli(),
    "one channel": DiscretisedLogisticMixture(6, components=2),
    "two channels": DiscretisedLogisticMixture(3, 2, components=2),
}


@pytest.mark.parametrize(
    ("name", "temperature"), [*((name, 1.0) for name in DRAWN), ("categorical", 0.4), ("bernoulli", 0.4)]
)
def test_samples_follow_the_stated_law(name, temperature):
    head = DRAWN[name]
    row, every = parameters(head, 1.0, 1), head.support()
    log_prob = head.log_prob(row.expand(len(every), -1), every)
    expected = (log_prob / temperature).softmax(0).detach()
    count = 30_000
    drawn = head.sample(row.expand(count, -1), temperature, torch.Generator().manual_seed(4))
    same = (drawn.unsqueeze(1) == every).flatten(2).all(-1) if head.event else drawn.unsqueeze(1) == every
    counts = same.sum(0).double()
    assert counts.sum() == count
    statistic = ((counts - expected * count) ** 2 / (expected * count)).sum().item()
    freedom = len(every) - 1
    assert statistic < freedom + 3.3 * math.sqrt(2 * freedom) + 6


def test_real_numbers_are_drawn_with_their_mean_and_spread():
    head = GaussianMixture(2, 3)
    row = parameters(head, 0.7, 1)
    weight = row[0, :2].softmax(0)
    mean, scale = row[0, 2:8].view(2, 3), row[0, 8:].view(2, 3).exp()
    drawn = head.sample(row.expand(40_000, -1), generator=torch.Generator().manual_seed(2))
    centre = weight @ mean
    variance = weight @ (scale**2 + mean**2) - centre**2
    torch.testing.assert_close(drawn.mean(0), centre, atol=0.04, rtol=0)
    torch.testing.assert_close(drawn.var(0), variance, atol=0, rtol=0.05)


@pytest.mark.parametrize(
    "head",
    [Categorical(5), Bernoulli(), DiscretisedLogisticMixture(6, 3, components=2), GaussianMixture(2, 3)],
    ids=lambda head: type(head).__name__,
)
def test_temperature_zero_needs_no_chance(head):
    rows = parameters(head)
    assert torch.equal(head.sample(rows, 0.0), head.sample(rows, 0.0))
    if isinstance(head, Categorical):
        assert torch.equal(head.sample(rows, 0.0), rows.argmax(-1))


@pytest.mark.parametrize("head", [*DRAWN.values(), GaussianMixture(2, 3)], ids=lambda head: type(head).__name__)
def test_events_of_any_batch_re_enter_as_vectors(head):
    events = head.sample(parameters(head, count=6).float()).view(2, 3, *head.event)
    embedded = head.embed(events)
    assert embedded.shape == (2, 3, head.width)
    torch.testing.assert_close(embedded[1, 2], head.embed(events[1, 2]))
    if not isinstance(head, GaussianMixture):
        every = head.embed(head.support())
        assert torch.cdist(every, every).fill_diagonal_(1).min() > 1e-3


def test_every_head_is_registered():
    assert set(HEADS.values()) == set(Head.__subclasses__())


@pytest.mark.parametrize(
    ("head", "outside", "inside"),
    [
        (Bernoulli(), [0, 255], [0, 1]),
        (Bernoulli(), [0.5, 1.01], [0.5, 1.0]),
        (Bernoulli(), [0.5, math.nan], [0.5, 0.0]),
        (Categorical(5), [0, 5], [0, 4]),
        (Categorical(5), [-1, 4], [0, 4]),
        (DiscretisedLogisticMixture(5), [0, 5], [0, 4]),
    ],
)
def test_events_that_cannot_be_are_refused(head, outside, inside):
    parameters = torch.randn(2, head.size)
    assert head.log_prob(parameters, torch.tensor(inside)).isfinite().all()
    with pytest.raises(RuntimeError, match="an event lies outside 0 to"):
        head.log_prob(parameters, torch.tensor(outside))


@pytest.mark.parametrize("head", [Categorical(5), DiscretisedLogisticMixture(5)])
def test_symbols_are_whole_numbers(head):
    for use in (head.embed, partial(head.log_prob, torch.randn(2, head.size))):
        with pytest.raises(ValueError, match="symbols are whole numbers from 0 to 4"):
            use(torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    "build",
    [
        partial(GaussianMixture, 1, 0),
        partial(GaussianMixture, 0),
        partial(DiscretisedLogisticMixture, 5, 0),
        partial(DiscretisedLogisticMixture, 5, components=0),
        partial(DiscretisedLogisticMixture, 1),
    ],
)
def test_heads_of_nothing_are_refused(build):
    with pytest.raises(ValueError, match="at least"):
        build()


@pytest.mark.parametrize("head", [GaussianMixture(2, 3), DiscretisedLogisticMixture(5, 3, 2)])
def test_a_narrower_event_is_not_broadcast(head):
    for shape in ((7, 1), (7,), (3, 1), ()):
        for use in (head.embed, partial(head.log_prob, torch.randn(7, head.size))):
            with pytest.raises(ValueError, match=r"events are of shape \(3,\)"):
                use(torch.zeros(shape, dtype=torch.float32 if isinstance(head, GaussianMixture) else torch.int64))


@pytest.mark.parametrize("head", [GaussianMixture(2), DiscretisedLogisticMixture(256, components=2)])
def test_data_are_as_precise_as_the_parameters_whatever_the_weights(head):
    rows, x = parameters(head), torch.arange(N) * 31
    x = x / 100 if isinstance(head, GaussianMixture) else x
    exact = head.double().log_prob(rows, x)
    torch.testing.assert_close(head.bfloat16().log_prob(rows, x), exact)
    torch.testing.assert_close(head.log_prob(rows.float(), x).double(), exact, rtol=1e-4, atol=1e-3)
    assert head.embed(x).dtype == torch.bfloat16
