"""Latent models: what does not fit is refused, and half precision leaves nats alone."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from morello.backbones.autoregressive import NETWORKS, Autoregressive, Given, GivenSizes, Ordering, raster, time
from morello.backbones.autoregressive.heads import Bernoulli, GaussianMixture
from morello.backbones.latent import (
    POSTERIORS,
    PRIORS,
    AutoregressiveDecoder,
    FactorisedDecoder,
    LatentModel,
    iwae,
    log_weight,
)
from morello.backbones.latent.codes import Gaussian, UnitGaussian
from morello.backbones.latent.decoders import Deconvolution, Flat
from morello.backbones.latent.encoders import ConvolutionalEncoder, FlatEncoder
from morello.backbones.latent.kl import Beta, Capacity, gaussian_kl
from morello.backbones.latent.posteriors import Deterministic, DiagonalGaussian
from morello.backbones.latent.priors import Conditional, Standard

B, X, Z = 7, 5, 3


def decoder_of(kind, codes=Z):
    if kind == "factorised":
        return FactorisedDecoder(Ordering((X,)), GaussianMixture(2), codes, Flat)
    return AutoregressiveDecoder(Autoregressive(time(X), GaussianMixture(2), NETWORKS["gru"], GivenSizes(glob=codes)))


def vae(prior=None, kind="factorised"):
    return LatentModel(nn.Linear(X, X), DiagonalGaussian(X, Z), prior or Standard(Z), decoder_of(kind))


def test_an_autoencoder_reads_no_context():
    model = LatentModel(nn.Identity(), Deterministic(X, Z), None, decoder_of("factorised"))
    with pytest.raises(ValueError, match="no prior to read a context"):
        model.terms(torch.randn(B, X), torch.randn(B, 2))


@pytest.mark.parametrize("name", PRIORS)
def test_no_groups_are_not_the_same_as_one_a_number(name):
    options = {"context": 2} if name == "conditional" else {}
    for groups in (0, -Z):
        with pytest.raises(ValueError, match="groups"):
            PRIORS[name](Z, groups, **options)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_parts_have_codes_of_one_size(posterior):
    for kind in ("factorised", "autoregressive"):
        q = POSTERIORS[posterior](X, Z)
        priors = [(None, 1)] if posterior == "deterministic" else [(Standard(1), Z), (Standard(Z), 1)]
        for prior, codes in priors:
            with pytest.raises(ValueError, match=r"codes of one size, not 3,"):
                LatentModel(nn.Identity(), q, prior, decoder_of(kind, codes))


def test_an_autoregressive_decoder_hears_its_code():
    with pytest.raises(ValueError, match=r"GivenSizes\(glob=Z\)"):
        AutoregressiveDecoder(Autoregressive(time(X), GaussianMixture(2), NETWORKS["gru"]))


def test_numbers_that_make_no_sense_are_refused():
    for policy in (partial(Beta, warmup_steps=-1), partial(Capacity, steps=-1)):
        with pytest.raises(ValueError, match="0 steps or more, not -1"):
            policy()
    with pytest.raises(ValueError, match="1 code or more, not 0"):
        iwae(vae(), torch.randn(B, X), 0)
    for encoder in (FlatEncoder, ConvolutionalEncoder):
        with pytest.raises(ValueError, match="at least 2 levels, not 1"):
            encoder((4, 4, 1), levels=1)
    for temperature in (-1.0, math.nan):
        with pytest.raises(ValueError, match="temperature is 0 or more"):
            vae().sample(2, temperature=temperature)


def test_densities_of_codes_in_half_precision_are_reckoned_in_float32():
    mean, log_scale, other = (3 * torch.randn(3, B, Z)).bfloat16()
    narrow = log_scale - 4
    for code, exact in (
        (Gaussian(mean, narrow), Gaussian(mean.double(), narrow.double())),
        (UnitGaussian(mean), UnitGaussian(mean.double())),
    ):
        z = code.sample(torch.Generator().manual_seed(1))
        assert z.dtype == torch.float32
        assert code.log_prob(z).dtype == torch.float32
        torch.testing.assert_close(code.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-4, atol=1e-3)
        assert ((z - mean) != 0).all()  # not rounded to the mean's neighbours
    kl = gaussian_kl(mean, narrow, other, log_scale)
    exact = gaussian_kl(mean.double(), narrow.double(), other.double(), log_scale.double())
    torch.testing.assert_close(kl.double(), exact, rtol=1e-4, atol=1e-3)
    assert kl.dtype == torch.float32


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_terms_keep_their_precision_under_autocast(kind):
    model, x = vae(Conditional(Z, context=2), kind), 4 + torch.randn(B, X)
    context = torch.randn(B, 2)
    found = []
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(model.terms(x, context, torch.Generator().manual_seed(3)))
    for plain, rough in zip(*found, strict=True):
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough, plain, rtol=0.05, atol=0.15)


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_a_model_in_bfloat16_still_gives_nats_in_float32(kind):
    model = vae(Conditional(Z, context=Z), kind).bfloat16()
    x = torch.randn(B, X).bfloat16()
    terms = model.terms(x, model.encode(x).sample())
    assert {t.dtype for t in terms} == {torch.float32}
    assert log_weight(terms).isfinite().all()
    assert model.sample(B, terms.z).shape == (B, X)


def test_a_decoder_in_bfloat16_is_a_distribution():
    decoder = FactorisedDecoder(raster(2, 3, 1), Bernoulli(), Z, Deconvolution).bfloat16()
    every = torch.cartesian_prod(*[torch.arange(2)] * 6).view(-1, 2, 3, 1)
    nats = decoder.log_prob(every, torch.randn(1, Z).expand(64, Z))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_a_code_of_another_width_is_no_glob():
    decoder = decoder_of("autoregressive")
    with pytest.raises(ValueError, match=r"glob of this model is \[7, 3\], not \[7, 2\]"):
        decoder.model.log_prob(torch.randn(B, X), Given(glob=torch.randn(B, 2)))
