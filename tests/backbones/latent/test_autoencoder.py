"""Autoencoders: latent models without a prior, and what is left of the others where the KL costs nothing."""

import math

import pytest
import torch
from torch import nn

from morello.backbones.latent import LatentModel, elbo, iwae, log_weight, loss
from morello.backbones.latent.codes import Delta
from morello.backbones.latent.kl import Beta, FreeBits, SoftFreeBits
from morello.backbones.latent.posteriors import Deterministic, DiagonalGaussian
from morello.backbones.latent.priors import Standard

from ...support.linear_gaussian import X, Z, linear_vae

B = 7


def gradients(model, value):
    model.zero_grad()
    value.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_beta_zero_is_an_autoencoder():
    vae, autoencoder, x = linear_vae().double(), linear_vae(Deterministic).double(), torch.randn(B, X).double()
    autoencoder.load_state_dict(vae.state_dict(), strict=False)
    with torch.no_grad():
        vae.posterior.log_scale.weight.zero_()
        vae.posterior.log_scale.bias.fill_(-50)
    plain = gradients(autoencoder, loss(autoencoder.terms(x), Beta()))
    free, paid = (gradients(vae, loss(vae.terms(x), Beta(beta))) for beta in (0.0, 1.0))
    shared = plain.keys() & {name for name, p in vae.named_parameters() if p.grad is not None}
    assert {"posterior.mean.weight", "decoder.network.layers.0.weight"} <= shared == plain.keys()
    for name in shared:
        torch.testing.assert_close(free[name], plain[name])
    assert not torch.allclose(paid["posterior.mean.weight"], plain["posterior.mean.weight"])


def test_beta_zero_leaves_the_reconstructions_gradient():
    vae, x = linear_vae().double(), torch.randn(B, X).double()
    got = gradients(vae, loss(vae.terms(x, generator=torch.Generator().manual_seed(3)), Beta(0.0)))
    noise = torch.randn(B, Z, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    z = vae.posterior.mean(x) + vae.posterior.log_scale(x).exp() * noise
    expected = gradients(vae, -vae.decoder.log_prob(x, z).mean())
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value)


def test_an_autoencoder_has_no_rate_and_no_bound():
    model, x = linear_vae(Deterministic), torch.randn(B, X)
    with torch.no_grad():
        terms = model.terms(x)
        assert terms.kl.shape == (B, 0)
        assert torch.equal(terms.z, model.posterior.mean(x))
        for policy in (Beta(), FreeBits(), SoftFreeBits()):
            policy.observe(terms.kl)
            assert loss(terms, policy) == terms.rec.mean()
        for bound in (elbo(terms), log_weight(terms), iwae(model, x, 3)):
            assert (bound == -torch.inf).all()
        point = Delta(terms.z.double())
        assert point.log_prob(point.mean).tolist() == [math.inf] * B
        assert point.log_prob(point.mean + 1).tolist() == [-math.inf] * B
    with pytest.raises(ValueError, match="no prior"):
        model.sample(B)
    for posterior, prior in ((Deterministic(X, Z), Standard(Z)), (DiagonalGaussian(X, Z), None)):
        with pytest.raises(ValueError, match="deterministic"):
            LatentModel(nn.Identity(), posterior, prior, model.decoder)
