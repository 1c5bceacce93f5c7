"""Bounds of latent models against the evidence of linear-Gaussian data."""

import math
from itertools import pairwise

import pytest
import torch
from torch import distributions as D

from morello.backbones.latent import elbo, iwae, log_weight, loss
from morello.backbones.latent.codes import Gaussian
from morello.backbones.latent.kl import Beta
from morello.backbones.latent.priors import Conditional, Prior

from ...support.descent import descend
from ...support.estimates import assert_mean, generator, mean_and_error
from ...support.linear_gaussian import MU, SIGMA, X, Z, evidence, exact_vae, linear_vae, loadings, true_posterior

B = 7


def assert_follows(x, law):
    """21000 items [..., X] of a Gaussian law, made white: a tenth more variance in any direction would be seen."""
    white = torch.linalg.solve_triangular(law.scale_tril, (x - law.mean).unsqueeze(-1), upper=False).view(-1, X).T
    torch.testing.assert_close(white.mean(1), torch.zeros(X).double(), rtol=0, atol=0.03)
    torch.testing.assert_close(white.cov(), torch.eye(X).double(), rtol=0, atol=0.04)


class Point(Gaussian):
    """A Gaussian of which one given point is drawn."""

    def at(self, noise):
        self.noise = noise
        return self

    def sample(self, generator=None):
        return self.mean + self.log_scale.exp() * self.noise


def mean_elbo(model, x):
    """E_q[ELBO] [B], exactly: the mean over 2 Z points integrates what is quadratic in z."""
    code, points = model.encode(x), math.sqrt(Z) * torch.cat([torch.eye(Z), -torch.eye(Z)]).double()
    return torch.stack([elbo(model.terms(x, code=Point(*code).at(p))) for p in points]).mean(0)


def test_the_bound_is_the_evidence_where_the_posterior_is_true():
    W = loadings(orthogonal=True)
    model, x = exact_vae(W), evidence(W).sample((B,))
    with torch.no_grad():
        for _ in range(3):  # whichever codes are drawn
            torch.testing.assert_close(log_weight(model.terms(x)), evidence(W).log_prob(x), rtol=0, atol=1e-9)
        torch.testing.assert_close(mean_elbo(model, x), evidence(W).log_prob(x), rtol=0, atol=1e-9)
        single = log_weight(model.float().terms(x.float()))
    torch.testing.assert_close(single.double(), evidence(W).log_prob(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("shift", "widen"), [(0.5, 1.0), (-0.2, 1.7), (0.0, 0.4)])
def test_the_bound_is_loose_by_the_kl_to_the_true_posterior(shift, widen):
    W = loadings(orthogonal=True)
    model, x = exact_vae(W, shift, widen), evidence(W).sample((B,))
    true = true_posterior(W, x)
    q = D.MultivariateNormal(true.mean + shift, true.covariance_matrix * widen**2)
    gap = D.kl_divergence(q, true)
    assert gap.min() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(mean_elbo(model, x), evidence(W).log_prob(x) - gap, rtol=0, atol=1e-9)
        code = model.encode(x)
        many = torch.stack([elbo(model.terms(x, code=code)) for _ in range(4000)])
    error = (many.mean(0) - evidence(W).log_prob(x) + gap) / (many.std(0) / math.sqrt(len(many)))
    assert error.abs().max() < 3.5


@pytest.mark.slow
def test_a_trained_bound_reaches_the_evidence():
    W = loadings(orthogonal=False)
    model, source = linear_vae(), evidence(W)
    with torch.no_grad():  # as much noise everywhere, to begin with
        model.posterior.log_scale.weight.zero_()
        model.decoder.network.layers[0].weight.view(X, 3, Z)[:, 2] = 0
    test = source.sample((4096,))

    @torch.no_grad()
    def gap():
        return mean_and_error(source.log_prob(test) - elbo(model.terms(test.float())).double())

    assert gap()[0] > 1
    descend(model, lambda: loss(model.terms(source.sample((256,)).float()), Beta()), 1200, 0.03)
    nats, error = gap()
    assert -3 * error < nats < 1e-2 + 3 * error, (nats, error)
    with torch.no_grad():  # without the noise of an analytic KL
        assert (source.log_prob(test) - log_weight(model.terms(test.float()))).mean() < 1e-2


def test_importance_weighting_tightens_the_bound():
    W = loadings(orthogonal=True)
    model, x = exact_vae(W, shift=0.3, widen=1.4), evidence(W).sample((1500,))
    exact = evidence(W).log_prob(x)
    with torch.no_grad():
        bound = {k: iwae(model, x, k) for k in (1, 2, 5, 13)}
        assert_mean(bound[1] - mean_elbo(model, x), 0)
    for fewer, more in pairwise(bound):
        gain, error = mean_and_error(bound[more] - bound[fewer])
        assert gain > 3 * error, (fewer, more)
    for k in bound:
        slack, error = mean_and_error(exact - bound[k])
        assert slack > -3 * error
    assert (exact - bound[13]).mean() < 0.1 < (exact - bound[1]).mean()


def told(W, context):
    """A model whose prior is told a context [B, 3], and that prior."""
    model, prior = exact_vae(W, shift=0.3, widen=1.4), Conditional(Z, context=3, hidden=()).double()
    A, log_scale = torch.randn(Z, 3).double(), torch.tensor([-0.3, 0.4]).double()
    with torch.no_grad():
        prior.layers[0].weight.copy_(torch.cat([A, torch.zeros(Z, 3)]))
        prior.layers[0].bias.copy_(torch.cat([torch.zeros(Z), log_scale]))
    model.prior = prior
    return model, D.Normal(context @ A.T, log_scale.exp())


@pytest.mark.parametrize("context", [None, torch.randn(B, 3, generator=generator()).double()])
def test_importance_weights_are_those_of_the_paper(context):
    W, k = loadings(orthogonal=True), 3
    model, prior = (exact_vae(W, shift=0.3, widen=1.4), D.Normal(0, 1)) if context is None else told(W, context)
    x = evidence(W).sample((B,))
    with torch.no_grad():
        got = iwae(model, x, k, context, generator=generator(5))
        source, code = generator(5), model.encode(x)
        z = torch.stack([code.sample(source) for _ in range(k)])
    q = D.Normal(code.mean, code.log_scale.exp())
    joint = D.Normal(z @ W.T + MU, SIGMA).log_prob(x).sum(-1) + prior.log_prob(z).sum(-1)
    weights = (joint - q.log_prob(z).sum(-1)).exp()
    torch.testing.assert_close(got, weights.mean(0).log())


def test_codes_are_expected_and_drawn_where_the_context_says():
    W, context = loadings(orthogonal=False), torch.randn(B, 3).double()
    model, prior = told(W, context)
    with torch.no_grad():
        code = model.encode(torch.randn(B, X).double())
        terms = model.terms(torch.randn(B, X).double(), context, code=code)
    torch.testing.assert_close(terms.log_p, prior.log_prob(terms.z).sum(1))
    torch.testing.assert_close(terms.kl, D.kl_divergence(D.Normal(code.mean, code.log_scale.exp()), prior))
    noise = SIGMA**2 * torch.eye(X).double()
    law = D.MultivariateNormal(prior.mean @ W.T + MU, W @ prior.variance[0].diag() @ W.T + noise)
    assert_follows(model.sample(3000 * B, context.repeat(3000, 1)).view(3000, B, X), law)


def test_samples_are_distributed_as_the_data():
    W = loadings(orthogonal=False)
    assert_follows(exact_vae(W).sample(21_000), evidence(W))


class Bimodal(Prior):
    """Half N(-2, I), half N(2, I): it has no KL in closed form."""

    def log_prob(self, z, context=None):
        each = torch.stack([D.Normal(c, 1.0).log_prob(z).sum(-1) for c in (-2.0, 2.0)])
        return each.logsumexp(0) - math.log(2)

    def sample(self, count, context=None, generator=None):
        raise NotImplementedError


def test_any_density_will_do_as_a_prior():
    model = linear_vae(prior=Bimodal()).double()
    with torch.no_grad():
        terms = model.terms(torch.randn(B, X).double())
        assert terms.kl.shape == (B, 1)
        torch.testing.assert_close(elbo(terms), log_weight(terms))
        torch.testing.assert_close(terms.kl[:, 0], terms.log_q - terms.log_p)
