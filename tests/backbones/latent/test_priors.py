"""Codes, priors and posteriors: densities, samples, and the KL between them."""

import pytest
import torch
from torch import distributions as D
from torch import nn

from morello.backbones.latent import POSTERIORS, PRIORS
from morello.backbones.latent.codes import Gaussian, UnitGaussian
from morello.backbones.latent.priors import Conditional, Learned, Standard

from ...support.estimates import assert_mean

B, X, G = 7, 5, 3  # items, numbers an item, groups of a code


def prior_and_context(name):
    size = 2 * G
    prior = PRIORS[name](size, context=X) if name == "conditional" else PRIORS[name](size)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    return prior.double(), torch.randn(B, X).double() if name == "conditional" else None


CODES = {"gaussian": Gaussian, "unit-gaussian": lambda mean, _: UnitGaussian(mean)}


@pytest.mark.parametrize("posterior", CODES)
@pytest.mark.parametrize("name", PRIORS)
def test_kl_in_closed_form_is_its_estimate_and_torchs(name, posterior):
    prior, context = prior_and_context(name)
    mean, log_scale = torch.randn(2, B, 2 * G).double() * torch.tensor([1.0, 0.4]).view(2, 1, 1)
    code = CODES[posterior](mean, log_scale)
    with torch.no_grad():
        p = prior.gaussian(context)
        q = D.Normal(mean, log_scale.exp() if posterior == "gaussian" else 1.0)
        exact = D.kl_divergence(q, D.Normal(p.mean, p.log_scale.exp()).expand(mean.shape))
        torch.testing.assert_close(prior.kl(code, context), exact)
        for _ in range(3):
            z = code.sample()
            torch.testing.assert_close(code.log_prob(z), q.log_prob(z).sum(-1))
        draws = [code.sample() for _ in range(6000)]
        estimates = torch.stack([code.log_prob(z) - prior.log_prob(z, context) for z in draws])
    assert_mean(estimates.mean(1), exact.sum(1).mean())


@pytest.mark.parametrize("name", PRIORS)
def test_groups_of_a_code_are_neighbours(name):
    options = {"context": X} if name == "conditional" else {}
    grouped, single = PRIORS[name](2 * G, groups=G, **options), PRIORS[name](2 * G, **options)
    single.load_state_dict(grouped.state_dict())
    context = torch.randn(B, X) if options else None
    code = Gaussian(*torch.randn(2, B, 2 * G))
    kl, each = grouped.kl(code, context), single.kl(code, context)
    assert kl.shape == (B, G)
    torch.testing.assert_close(kl, torch.stack([each[:, 2 * g] + each[:, 2 * g + 1] for g in range(G)], dim=1))
    with pytest.raises(ValueError, match="groups"):
        PRIORS[name](2 * G, groups=G + 1, **options)


def test_samples_of_priors_follow_their_densities():
    for name in PRIORS:
        prior, context = prior_and_context(name)
        rows = None if context is None else context.repeat(3000, 1)  # each item has its own
        with torch.no_grad():
            z = prior.sample(3000 * B, rows)
            p = prior.gaussian(rows)
            assert z.shape == (3000 * B, 2 * G)
            standard = (z - p.mean) / p.log_scale.exp()
            torch.testing.assert_close(standard.mean(0), torch.zeros(2 * G).double(), rtol=0, atol=0.03)
            torch.testing.assert_close(standard.T.cov(), torch.eye(2 * G).double(), rtol=0, atol=0.05)
            expected = D.Normal(p.mean, p.log_scale.exp()).log_prob(z).sum(-1)
            torch.testing.assert_close(prior.log_prob(z, rows), expected)


def test_a_conditional_prior_on_a_neighbours_code():
    """Associative compression: r(z given c) centred on the neighbour costs nothing if the neighbour is the same."""
    prior = Conditional(G, hidden=(), context=G)
    with torch.no_grad():
        prior.layers[0].weight.copy_(torch.cat([torch.eye(G), torch.zeros(G, G)]))
        prior.layers[0].bias.zero_()
    code = UnitGaussian(torch.randn(B, G))
    assert (prior.kl(code, code.mean) == 0).all()
    neighbour = code.mean.roll(1, 0)
    expected = (code.mean - neighbour).square() / 2
    torch.testing.assert_close(prior.kl(code, neighbour), expected)
    with pytest.raises(ValueError, match="needs a context"):
        prior.log_prob(code.mean)
    for other in (Standard(G), Learned(G)):
        with pytest.raises(ValueError, match="reads no context"):
            other.kl(code, neighbour)


def test_a_learned_prior_is_best_at_the_codes_own_moments():
    prior, code = Learned(G).double(), Gaussian(*torch.randn(2, B, G).double())
    variance = (code.log_scale.exp() ** 2 + code.mean**2).mean(0) - code.mean.mean(0) ** 2
    with torch.no_grad():
        prior.mean.copy_(code.mean.mean(0))
        prior.log_scale.copy_(variance.log() / 2)
    prior.kl(code).sum().backward()
    for parameter in prior.parameters():
        torch.testing.assert_close(parameter.grad, torch.zeros(G).double(), rtol=0, atol=1e-12)


def test_posteriors_read_features_item_by_item():
    features = torch.randn(B, X)
    for name, posterior in POSTERIORS.items():
        q = posterior(X, G)
        code = q(features)
        assert code.mean.shape == code.sample().shape == (B, G), name
        torch.testing.assert_close(q(features[:1]).mean, code.mean[:1])
        draws = torch.stack([code.sample() for _ in range(2000)])
        scale = {"deterministic": 0.0, "unit-gaussian": 1.0}.get(name)
        scale = code.log_scale.exp() if scale is None else torch.full((B, G), scale)
        torch.testing.assert_close(draws.std(0), scale, rtol=0.1, atol=0)
