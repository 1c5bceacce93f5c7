"""Whether a code is used: models built by hand to use theirs or not, and channels of known information."""

import math
from functools import partial

import pytest
import torch
from torch import distributions as D
from torch import nn
from torch.nn import functional as F

from morello.backbones.autoregressive import raster
from morello.backbones.autoregressive.heads import Bernoulli
from morello.backbones.latent import FactorisedDecoder, LatentModel, Terms
from morello.backbones.latent.codes import Delta, Gaussian
from morello.backbones.latent.decoders import Flat
from morello.backbones.latent.diagnostics import (
    active_units,
    fano,
    fano_cap,
    information,
    kl_per_group,
    shuffled_reconstruction,
)
from morello.backbones.latent.posteriors import UnitVarianceGaussian
from morello.backbones.latent.priors import Standard

from ...support.estimates import generator
from ...support.templates import ERROR, FLIP, HEIGHT, PIXELS, TEMPLATES, WIDTH, K, diagnose, mixture

B = 7


class Classifier(nn.Module):
    """The class probabilities given an item, the best features there are."""

    def forward(self, x):
        wrong = (x.view(-1, 1, PIXELS) != TEMPLATES).sum(-1)
        return F.softmax(wrong * math.log(FLIP / (1 - FLIP)), dim=1)


@torch.no_grad()
def by_hand(spread):
    """Codes N(spread v_k, I), v_k the corners of a simplex; a decoder that reads them, or none of them if spread is 0.1
    or less.
    """
    corners = torch.linalg.svd(torch.eye(K) - 1 / K).Vh[: K - 1].T  # [K, K - 1], centred, |v - w|^2 = 2
    decoder = FactorisedDecoder(raster(HEIGHT, WIDTH, 1), Bernoulli(), K - 1, partial(Flat, hidden=()))
    model = LatentModel(Classifier(), UnitVarianceGaussian(K, K - 1), Standard(K - 1), decoder)
    model.posterior.mean.weight.copy_(spread * corners.T)
    model.posterior.mean.bias.zero_()
    (layer,) = decoder.network.layers
    logits = (2 * TEMPLATES - 1) * math.log(1 / FLIP - 1)
    mean = logits.float().mean(0)
    used = spread > 0.1
    layer.bias.copy_(mean)
    layer.weight.copy_((logits - mean).T @ corners / spread if used else torch.zeros(PIXELS, K - 1))
    return model


def test_a_collapsed_code_is_found_out():
    terms, active, probed, rec, info = diagnose(by_hand(0.1))
    assert kl_per_group(terms).sum() < 0.01
    assert probed.means > 0.97  # is fooled
    assert probed.samples < 0.36
    assert probed.samples <= probed.cap + ERROR
    assert fano(probed.samples - ERROR, K) <= info.kl
    assert torch.equal(rec.own, rec.shuffled)
    assert info.mutual < 0.02
    assert active == 0


def test_reconstructions_are_made_from_codes_as_drawn():
    x, label = mixture(2000)
    right = [(by_hand(s).reconstruct(x).view(-1, PIXELS) == TEMPLATES[label]).all(1).float().mean() for s in (1, 6)]
    assert right[0] < 0.8 < 0.97 < right[1]  # the means alone would tell the class at either spread


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_drawn_is_the_generators(temperature):
    model, x = by_hand(1.0), mixture(211)[0]
    for draw in (partial(model.reconstruct, x), partial(model.sample, 211)):
        one, again, other = (draw(temperature=temperature, generator=generator(seed)) for seed in (2, 2, 3))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


def test_a_used_code_is_seen_to_be():
    terms, active, probed, rec, info = diagnose(by_hand(6.0))
    assert kl_per_group(terms).shape == (K - 1,)
    assert active == K - 1
    assert probed.samples > 0.97
    assert probed.cap == 1
    assert (rec.shuffled - rec.own).mean() > 5
    assert info.mutual == pytest.approx(math.log(K), abs=0.06)  # the class, and little of which item
    law = Classifier()(mixture(6000, generator(11))[0])  # of the same items
    paid = 36 / 2 * ((law**2).sum(1).mean().item() - 1 / K)  # half the squared length of sum_k law_k 6 v_k
    assert info.kl == pytest.approx(paid, rel=1e-5)
    assert info.marginal == pytest.approx(paid - math.log(K), abs=0.06)
    assert terms.kl.sum().item() == pytest.approx(6000 * paid, rel=1e-5)


@pytest.mark.parametrize("spread", [0.3, 0.5, 0.8, 1.3, 2.0])
def test_a_probe_on_samples_keeps_below_fanos_cap(spread):
    terms, active, probed, _, info = diagnose(by_hand(spread), 3000)
    assert active == K - 1  # "active" is not "used"
    nats = terms.kl.sum(1).mean().item()
    assert fano(probed.samples - ERROR * math.sqrt(2), K) <= min(nats, info.mutual + 0.05)
    if spread < 1:
        assert probed.cap < 0.8 < 0.97 < probed.means


def test_fanos_inequality_is_an_equality_for_even_mistakes():
    for accuracy in (0.2, 0.5, 0.9, 1.0):
        classes = 5
        joint = torch.full((classes, classes), (1 - accuracy) / (classes - 1), dtype=torch.float64)
        joint.fill_diagonal_(accuracy)
        joint /= classes
        ratio = joint / (joint.sum(0) * joint.sum(1, keepdim=True))
        nats = torch.xlogy(joint, ratio).sum().item()
        assert fano(accuracy, classes) == pytest.approx(nats, abs=1e-12)
        if accuracy > 1 / classes:
            assert fano_cap(nats, classes) == pytest.approx(accuracy, abs=1.1e-9)
    assert fano(0.1, 5) == 0  # below chance
    assert fano_cap(0.0, 5) == pytest.approx(0.2, abs=1e-7)  # where nats hardly change
    assert fano_cap(9.0, 5) == 1
    assert fano_cap(0.1, 4) == pytest.approx(0.45, abs=0.02)


def test_units_are_active_whose_means_vary():
    mean = torch.tensor([[5.0, -1.0, 0.09], [5.0, 1.0, -0.09], [5.0, 0.0, 0.0]])  # variances 0, 2/3, 0.0054
    assert active_units(mean) == 1
    assert active_units(mean, threshold=0.005) == 2


def informed(code):
    z, nothing = code.sample(), torch.zeros(len(code.mean))
    prior = Standard(code.mean.shape[1])
    return information(code, Terms(nothing, code.log_prob(z), prior.log_prob(z), prior.kl(code), z))


def test_mutual_information_of_a_gaussian_channel():
    """z = A x + noise of a Gaussian x."""
    n, generator = 3000, torch.Generator().manual_seed(17)
    A, x = torch.tensor([[0.9, 0.4, -0.3], [0.0, 0.7, 0.5]]), torch.randn(n, 3, generator=generator)
    shift, log_scale = torch.tensor([0.5, -0.3]), torch.tensor([-0.4, 0.1])
    info = informed(Gaussian(x @ A.T + shift, log_scale.expand(n, 2)))
    own = torch.diag((2 * log_scale).exp())
    whole = A @ A.T + own
    mutual = (torch.logdet(whole) - torch.logdet(own)) / 2
    marginal = D.kl_divergence(D.MultivariateNormal(shift, whole), D.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    assert info.mutual == pytest.approx(mutual.item(), abs=0.04)
    assert info.marginal == pytest.approx(marginal.item(), abs=0.04)
    assert info.cap == math.log(n)


def test_a_code_may_cost_much_and_say_nothing():
    info = informed(Gaussian(torch.full((B, 2), 3.0), torch.zeros(B, 2)))
    assert info.kl == pytest.approx(9)
    assert info.mutual == pytest.approx(0, abs=1e-5)
    apart = torch.arange(B).float().unsqueeze(1).expand(B, 2) * 100
    info = informed(Gaussian(apart, torch.zeros(B, 2)))
    assert info.mutual == pytest.approx(info.cap) == pytest.approx(math.log(B))


def test_shuffled_items_never_keep_their_own_code():
    class Told(nn.Module):
        def log_prob(self, x, z):
            return (x[:, 0] == z[:, 0]).double()

    model = LatentModel(nn.Identity(), nn.Identity(), Standard(1), Told())
    model.encode = Delta
    for seed in range(20):
        x = torch.arange(B).double().unsqueeze(1)
        own, shuffled = shuffled_reconstruction(model, x, torch.Generator().manual_seed(seed))
        assert own.tolist() == [-1] * B
        assert shuffled.tolist() == [0] * B
