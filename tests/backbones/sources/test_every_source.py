"""Every source: its law against enumeration of all its items, what a label is worth, the registries."""

import inspect
import math
import re

import pytest
import torch

from morello.backbones import sources
from morello.backbones.sources import CHANNELS, SOURCES, GaussianChannel, MarkovText, MovingSprite

from ...support.enumeration import every_item, number_of, plain_entropy, surprise
from ...support.estimates import generator
from ...support.source_laws import SMALL, enumerated


@pytest.fixture(params=SMALL)
def small(request):
    return enumerated(request.param)


def test_log_prob_is_the_law_said_again_and_sums_to_one(small):
    source, items, p = small
    log_p = source.log_prob(items)
    assert (log_p.shape, log_p.dtype) == (p.shape, torch.float64)
    torch.testing.assert_close(log_p.exp(), p, rtol=1e-9, atol=1e-14)
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-10)


def test_entropy_is_that_of_the_enumerated_law(small):
    source, _, p = small
    value, error = source.entropy()
    assert abs(value - plain_entropy(p)) <= 3 * error + 1e-9
    assert error < 0.05


def test_samples_have_the_enumerated_frequencies(small):
    source, items, p = small
    x = source.sample(30_011, generator())
    assert (x.shape, x.dtype) == ((30_011, *source.shape), torch.int64)
    assert surprise(number_of(x, source.symbols).bincount(minlength=len(items)), p) < 4
    assert torch.equal(x[:101], source.sample(30_011, generator())[:101])


def test_wrong_frequencies_are_noticed():
    """The control: another seed's text is not taken for this one's."""
    source, other = MarkovText(3, 2, 0.5, 5, seed=5), MarkovText(3, 2, 0.5, 5, seed=7)
    items = every_item(source)
    counts = number_of(source.sample(30_011, generator()), 3).bincount(minlength=len(items))
    assert surprise(counts, other.log_prob(items).exp()) > 100


def test_bounds_are_above_the_entropy(small):
    source, items, p = small
    H = plain_entropy(p)
    assert all(bound >= H - 1e-9 for bound in source.bounds.values())
    uniform = math.log(len(items))
    assert source.bounds.get("uniform", source.bounds.get("blind")) == pytest.approx(uniform)


@pytest.mark.parametrize("name", ["topics", "classes"])
def test_labels_and_items_are_drawn_together(name):
    source, items, p = enumerated(name)
    joint = source.joint_log_prob(items).exp()
    torch.testing.assert_close(joint.sum(-1), p)
    x, label = source.sample_labelled(30_011, generator())
    cell = number_of(x, 2) * 3 + label
    assert surprise(cell.bincount(minlength=joint.numel()), joint.flatten()) < 4

    given_label = plain_entropy(joint) - math.log(3)
    assert source.conditional_entropy == pytest.approx(given_label)
    information, error = source.information()
    assert abs(information - (plain_entropy(joint.sum(-1)) - given_label)) < 3 * error


# The registries.


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_as_its_contract_says(name):
    source_class = SOURCES[name]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert issubclass(source_class, sources.Source)
    assert inspect.getmodule(source_class).__doc__
    source = source_class()
    x = source.sample(503, generator())
    assert (x.shape, x.dtype) == ((503, *source.shape), torch.int64)
    assert x.min() == 0
    assert x.max() == source.symbols - 1
    log_p = source.log_prob(x)
    value, error = source.entropy()
    assert abs(value + log_p.mean()) < 3 * math.hypot(log_p.std() / 503**0.5, error)
    assert source.entropy() == (value, error)
    assert min(source.bounds.values()) >= value - 1e-9
    assert torch.equal(source_class().log_prob(x), log_p)
    if "seed" in inspect.signature(source_class).parameters:
        assert not torch.equal(source_class(seed=1).log_prob(x), log_p)


def test_sources_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    for kind in (*SOURCES.values(), *CHANNELS.values()):
        kind().sample(3, generator())
    MovingSprite(frames=2).entropy()
    GaussianChannel().info_nce_optimum(2)
    assert torch.equal(torch.get_rng_state(), before)
