"""Latent models trained on templates: what their decoders leave to the code."""

from functools import partial

import pytest
import torch

from morello.backbones.autoregressive import NETWORKS, Autoregressive, GivenSizes, raster
from morello.backbones.autoregressive.heads import Bernoulli
from morello.backbones.latent import AutoregressiveDecoder, FactorisedDecoder, LatentModel, elbo, loss
from morello.backbones.latent.decoders import Flat
from morello.backbones.latent.encoders import FlatEncoder
from morello.backbones.latent.kl import Beta
from morello.backbones.latent.posteriors import DiagonalGaussian
from morello.backbones.latent.priors import Standard

from ...support.descent import descend
from ...support.estimates import generator, mean_and_error
from ...support.templates import ERROR, HEIGHT, PIXELS, TEMPLATES, WIDTH, K, diagnose, mixture, mixture_log_prob

pytestmark = pytest.mark.slow

G = 3  # numbers a code


@pytest.fixture(scope="module")
def trained():
    """A factorised and an autoregressive decoder, each with the same encoder and as many updates."""
    torch.manual_seed(0)
    models = {}
    for kind, network in (("factorised", None), ("autoregressive", NETWORKS["pixel-cnn"])):
        ordering, head = raster(HEIGHT, WIDTH, 1), Bernoulli(8)
        if network is None:
            decoder = FactorisedDecoder(ordering, head, G, Flat)
        else:
            decoder = AutoregressiveDecoder(
                Autoregressive(ordering, head, partial(network, size=16, layers=2), GivenSizes(glob=G), cond=8)
            )
        encoder = FlatEncoder((HEIGHT, WIDTH, 1), 32, 2)
        models[kind] = model = LatentModel(encoder, DiagonalGaussian(32, G), Standard(G), decoder)
        descend(model, lambda: loss(model.terms(mixture(64)[0]), Beta()), 800, 5e-3, decay=False)
    return models


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_no_bound_beats_the_entropy(trained, kind):
    x, _ = mixture(4000, torch.Generator().manual_seed(19))
    with torch.no_grad():
        excess, error = mean_and_error(mixture_log_prob(x) - elbo(trained[kind].terms(x)).double())
    assert -3 * error < excess < 1  # and it has learnt


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_what_is_drawn_is_like_the_source(trained, kind):
    """As likely, of each template as often, and neither cleaner nor much noisier: 15 pixels have 0.75 flips."""
    drawn = trained[kind].sample(2003, generator=generator())
    nats, source = mixture_log_prob(drawn).mean(), mixture_log_prob(mixture(2003)[0]).mean()
    noise = mixture_log_prob(torch.randint(2, (2003, HEIGHT, WIDTH, 1))).mean()
    assert noise + 9 < source - 3.5 < nats < source + 0.5
    flips, template = (drawn.view(-1, 1, PIXELS) != TEMPLATES).sum(-1).min(1)
    shares = template.bincount(minlength=K) / 2003
    assert ((shares > 0.15) & (shares < 0.35)).all()
    assert 0.5 < flips.double().mean() < 2


def test_a_decoder_that_can_do_without_its_code_does(trained):
    terms, _, probed, rec, info = diagnose(trained["factorised"])
    assert terms.kl.sum(1).mean() > 1
    assert probed.samples > 0.9
    assert (rec.shuffled - rec.own).mean() > 2
    assert info.mutual > 1
    terms, _, probed, rec, info = diagnose(trained["autoregressive"])
    assert terms.kl.sum(1).mean() < 0.1
    assert probed.samples <= probed.cap + ERROR
    assert probed.means > probed.samples + 0.2
    assert (rec.shuffled - rec.own).mean() < 0.1
    assert info.mutual < 0.1
