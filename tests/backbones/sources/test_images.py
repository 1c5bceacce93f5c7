"""Images: meshes, classes and digits, against figures found elsewhere."""

import re
import sys

import pytest
import torch

from morello.backbones.sources import MESH, ClassMixture, MarkovMesh, load_digits
from morello.backbones.sources.digits import LEVELS

from ...support.enumeration import least
from ...support.estimates import generator
from ...support.source_laws import enumerated


def test_the_mesh_has_the_tabulated_nats():
    """17.8 to 18.1 by samples."""
    source = MarkovMesh(8, 8, table=MESH)
    value, error = source.entropy()
    assert (source.shape, source.symbols, error) == ((8, 8, 1), 2, 0)
    assert value == pytest.approx(17.961, abs=5e-4)
    log_p = source.log_prob(source.sample(4001, generator()))
    assert abs(value + log_p.mean()) < 3 * log_p.std() / 4001**0.5


def test_a_mesh_too_wide_to_keep_its_law_has_an_estimated_entropy():
    source = MarkovMesh(3, 2, 1, 3, 0.5, seed=5)
    exact, _ = source.entropy()
    source.exact = False
    value, error = source.entropy()
    assert 0 < error < 0.02
    assert abs(value - exact) < 3 * error
    assert not MarkovMesh(2, 17).exact


def test_who_takes_pixels_one_by_one_pays_for_the_class_in_each():
    source, items, p = enumerated("classes")
    assert source.bounds["independent"] == pytest.approx(least(p, items, lambda t: []))


def test_a_class_costs_what_thought_says():
    """64 h(0.05) + ln 10 = 12.705 + 2.303 where templates are far apart; taken one by one, pixels cost some 42."""
    source = ClassMixture()
    assert source.conditional_entropy == pytest.approx(12.705, abs=5e-4)
    assert source.entropy()[0] == pytest.approx(15.008, abs=1e-3)
    assert 40 < source.bounds["independent"] < 44
    x, label = source.sample_labelled(1009, generator())
    assert torch.equal(source.joint_log_prob(x).argmax(-1), label)


def test_digits_are_the_1797_of_scikit_learn():
    images, labels = load_digits()
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == (
        (1797, 8, 8, 1),
        torch.int64,
        (1797,),
        torch.int64,
    )
    assert (images.min(), images.max()) == (0, LEVELS - 1)
    assert torch.equal(labels.unique(), torch.arange(10))
    # Grey as a probability: what no model gets below, and what one reaches that takes pixels one by one.
    grey = images.flatten(1).double() / 16

    def h(p):
        return -torch.xlogy(p, p) - torch.xlogy(1 - p, 1 - p)

    assert h(grey).sum(-1).mean().item() == pytest.approx(13.658, abs=5e-4)
    assert h(grey.mean(0)).sum().item() == pytest.approx(27.110, abs=5e-4)


def test_digits_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'morello[density]'")):
        load_digits()
