"""Latent models against linear-Gaussian data and mixtures of templates, of which everything is known."""

import math
from functools import partial
from itertools import pairwise, product

import pytest
import torch
from torch import distributions as D
from torch import nn
from torch.nn import functional as F

from morello.backbones.autoregressive import NETWORKS, Autoregressive, Ordering, Sizes, permuted, raster
from morello.backbones.autoregressive.heads import Bernoulli, Categorical, DiscretisedLogisticMixture, GaussianMixture
from morello.backbones.latent import (
    KL_POLICIES,
    POSTERIORS,
    PRIORS,
    AutoregressiveDecoder,
    FactorisedDecoder,
    LatentModel,
    Terms,
    elbo,
    iwae,
    log_weight,
    loss,
)  # fmt: skip
from morello.backbones.latent.codes import Delta, Gaussian, UnitGaussian
from morello.backbones.latent.decoders import Deconvolution, Flat
from morello.backbones.latent.diagnostics import (
    active_units,
    fano,
    fano_cap,
    information,
    kl_per_group,
    probe_code,
    shuffled_reconstruction,
)  # fmt: skip
from morello.backbones.latent.encoders import ConvolutionalEncoder, FlatEncoder
from morello.backbones.latent.kl import (
    Beta,
    Capacity,
    FreeBits,
    SoftFreeBits,
    gaussian_kl,
    unit_gaussian_kl,
)  # fmt: skip
from morello.backbones.latent.posteriors import Deterministic, DiagonalGaussian, UnitVarianceGaussian
from morello.backbones.latent.priors import Conditional, Learned, Prior, Standard

B, X, Z, G = 7, 5, 2, 3  # items, numbers an item, numbers a code, groups

# ---------------------------------------------------------------------------------------------------------------------
# Linear-Gaussian data: x = W z + mu + sigma noise, z ~ N(0, I). p(x) and p(z given x) are Gaussian.

MU, SIGMA = torch.tensor([0.3, -1.1, 0.7, 2.0, -0.4]).double(), 0.6


def loadings(orthogonal):
    """W [X, Z]. Where its columns are orthogonal the posterior's numbers are independent."""
    W = torch.randn(X, Z, generator=torch.Generator().manual_seed(1)).double()
    return torch.linalg.qr(W).Q * torch.tensor([2.3, 0.8]).double() if orthogonal else W


def evidence(W):
    return D.MultivariateNormal(MU, W @ W.T + SIGMA**2 * torch.eye(X).double())


def true_posterior(W, x):
    """By Gaussian conditioning on x (not by the precision that the model is given)."""
    gain = W.T @ torch.linalg.inv(W @ W.T + SIGMA**2 * torch.eye(X).double())
    return D.MultivariateNormal((x - MU) @ gain.T, torch.eye(Z).double() - gain @ W)


def linear_vae(posterior=DiagonalGaussian, prior=None):
    decoder = FactorisedDecoder(Ordering((X,)), GaussianMixture(1), Z, partial(Flat, hidden=()))
    prior = None if posterior is Deterministic else prior or Standard(Z)
    return LatentModel(nn.Identity(), posterior(X, Z), prior, decoder)


@torch.no_grad()
def exact_vae(W, shift=0.0, widen=1.0):
    """The true decoder, and the true posterior with its means moved by ``shift`` and its scales times ``widen``."""
    model = linear_vae().double()
    precision = 1 + (W**2).sum(0) / SIGMA**2
    model.posterior.mean.weight.copy_(W.T / SIGMA**2 / precision[:, None])
    model.posterior.mean.bias.copy_(-(W.T @ MU) / SIGMA**2 / precision + shift)
    model.posterior.log_scale.weight.zero_()
    model.posterior.log_scale.bias.copy_(math.log(widen) - precision.log() / 2)
    (layer,) = model.decoder.network.layers
    layer.weight.zero_()
    layer.weight.view(X, 3, Z)[:, 1] = W  # a logit, a mean and a log-scale for each number
    layer.bias.view(X, 3)[:] = torch.stack([MU, MU, torch.full((X,), math.log(SIGMA), dtype=torch.float64)], dim=1)
    return model


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


def test_a_trained_bound_reaches_the_evidence():
    W, steps = loadings(orthogonal=False), 1200
    model, source = linear_vae(), evidence(W)
    with torch.no_grad():  # as much noise everywhere, to begin with
        model.posterior.log_scale.weight.zero_()
        model.decoder.network.layers[0].weight.view(X, 3, Z)[:, 2] = 0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    test = source.sample((4096,))

    @torch.no_grad()
    def gap():
        each = source.log_prob(test) - elbo(model.terms(test.float())).double()
        return each.mean(), each.std() / math.sqrt(len(each))

    assert gap()[0] > 1
    for step in range(steps):
        optimizer.zero_grad()
        loss(model.terms(source.sample((256,)).float()), Beta(), step).backward()
        optimizer.step()
        schedule.step()
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
        difference = bound[more] - bound[fewer]
        assert difference.mean() > 3 * difference.std() / math.sqrt(len(x)), (fewer, more)
    for k in bound:
        slack = exact - bound[k]
        assert slack.mean() > -3 * slack.std() / math.sqrt(len(x))
    assert (exact - bound[13]).mean() < 0.1 < (exact - bound[1]).mean()


def test_importance_weights_are_those_of_the_paper():
    W, k = loadings(orthogonal=True), 3
    model, x = exact_vae(W, shift=0.3, widen=1.4), evidence(W).sample((B,))
    with torch.no_grad():
        got = iwae(model, x, k, generator=torch.Generator().manual_seed(5))
        generator, code = torch.Generator().manual_seed(5), model.encode(x)
        z = torch.stack([code.sample(generator) for _ in range(k)])
    q, prior = D.Normal(code.mean, code.log_scale.exp()), D.Normal(0, 1)
    joint = D.Normal(z @ W.T + MU, SIGMA).log_prob(x).sum(-1) + prior.log_prob(z).sum(-1)
    weights = (joint - q.log_prob(z).sum(-1)).exp()
    torch.testing.assert_close(got, weights.mean(0).log())


def test_samples_are_distributed_as_the_data():
    W = loadings(orthogonal=False)
    x = exact_vae(W).sample(20_000)
    torch.testing.assert_close(x.mean(0), MU, rtol=0, atol=0.06)
    torch.testing.assert_close(x.T.cov(), evidence(W).covariance_matrix, rtol=0, atol=0.15)


# ---------------------------------------------------------------------------------------------------------------------
# Codes, priors and KL.


def assert_mean(values, expected):
    """Equal within 3 standard errors, which are above rounding."""
    error = values.std() / math.sqrt(values.numel())
    assert abs(values.mean() - expected) < 3 * error + 1e-12, (values.mean(), expected, error)


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
        rows = None if context is None else context[:1].expand(20_000, -1)
        with torch.no_grad():
            z = prior.sample(20_000, rows)
            p = prior.gaussian(rows)
            assert z.shape == (20_000, 2 * G)
            standard = (z - p.mean) / p.log_scale.exp()
            torch.testing.assert_close(standard.mean(0), torch.zeros(2 * G).double(), rtol=0, atol=0.03)
            torch.testing.assert_close(standard.T.cov(), torch.eye(2 * G).double(), rtol=0, atol=0.05)
            expected = D.Normal(p.mean, p.log_scale.exp()).log_prob(z).sum(-1)
            torch.testing.assert_close(prior.log_prob(z, rows), expected)


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


def test_kl_of_gaussians_as_printed():
    c, m = torch.randn(2, B, G).double()
    log_q, log_p = 0.5 * torch.randn(2, B, G).double()
    s, t = log_q.exp(), log_p.exp()
    printed = (t / s).log() + (s**2 + (c - m) ** 2) / (2 * t**2) - 0.5
    torch.testing.assert_close(gaussian_kl(c, log_q, m, log_p), printed)
    torch.testing.assert_close(unit_gaussian_kl(c, m, log_p), t.log() + (1 + (c - m) ** 2) / (2 * t**2) - 0.5)
    near = gaussian_kl(torch.zeros(1), torch.full((1,), 1e-4), torch.zeros(1), torch.zeros(1))  # r^2 to first order
    torch.testing.assert_close(near, torch.full((1,), 1e-8), rtol=0.1, atol=0)


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


# ---------------------------------------------------------------------------------------------------------------------
# What losses make of the KL: their gradients.


def gradient(policy, kl, step=0):
    kl = kl.clone().requires_grad_()
    policy(kl, step).backward()
    return kl.grad


def test_warm_up_is_linear_and_ends():
    kl, policy = torch.rand(B, G), Beta(beta=3.0, warmup_steps=11)
    for step, weight in [(0, 0.0), (1, 3 / 11), (7, 21 / 11), (11, 3.0), (1000, 3.0)]:
        torch.testing.assert_close(gradient(policy, kl, step), torch.full((B, G), weight / B))
    torch.testing.assert_close(gradient(Beta(), kl), torch.full((B, G), 1 / B))
    torch.testing.assert_close(policy(kl, 7), 21 / 11 * kl.sum() / B)


def test_free_bits_leave_cheap_groups_alone():
    kl = torch.tensor([[0.1, 2.0, 0.9], [0.3, 1.0, 0.0]])  # means 0.2, 1.5, 0.45: some items lie on either side
    assert gradient(FreeBits(0.5), kl).tolist() == [[0, 0.5, 0], [0, 0.5, 0]]
    torch.testing.assert_close(FreeBits(0.5)(kl, 0), torch.tensor(0.5 + 1.5 + 0.5))
    torch.testing.assert_close(gradient(FreeBits(0.0), kl), gradient(Beta(), kl))


def test_capacity_is_annealed_and_pulls_from_both_sides():
    policy = Capacity(gamma=5.0, nats=2.0, steps=13)
    kl = torch.full((B, G), 0.4)  # 1.2 nats; C reaches them between steps 7 and 8
    for step, sign in [(0, 1), (7, 1), (8, -1), (13, -1), (999, -1)]:
        torch.testing.assert_close(gradient(policy, kl, step), torch.full((B, G), sign * 5.0 / B))
    torch.testing.assert_close(policy(kl, 999), torch.tensor(5 * 0.8))
    torch.testing.assert_close(policy(kl, 0), torch.tensor(5 * 1.2))


def test_soft_free_bits_adapt_their_weight():
    policy = SoftFreeBits(floor=3.0)

    def after(nats):
        policy.observe(torch.full((B, G), nats / G))
        return policy.weight.item()

    assert after(2.9) == pytest.approx(0.9)
    assert after(3.1) == pytest.approx(0.9)  # within [3, 3.15]
    assert after(3.2) == pytest.approx(0.99)
    assert after(3.2) == after(3.2) == 1  # at most
    for _ in range(3000):
        after(0.0)
    assert 0 < policy.weight < 1e-5
    assert after(9.0) > policy.weight.new_tensor(1e-6)  # and can come back

    before, kl = policy.weight.clone(), torch.rand(B, G)
    torch.testing.assert_close(gradient(policy, kl), (before / B).expand(B, G))
    assert policy.weight == before  # scoring changes nothing
    other = SoftFreeBits(floor=3.0)
    other.load_state_dict(policy.state_dict())
    assert other.weight == before


def test_soft_free_bits_settle_at_the_floor():
    policy = SoftFreeBits(floor=3.0)
    for _ in range(100):  # a code that is used the more, the cheaper it is
        nats = 1 / policy.weight
        policy.observe((nats / G).expand(B, G))
    assert 3 / 1.2 < nats < 3 * 1.2


@pytest.mark.parametrize("name", KL_POLICIES)
def test_policies_are_scalars_that_change_nothing(name):
    policy, kl = KL_POLICIES[name](), torch.rand(B, G)
    assert policy(kl, 3).shape == ()
    assert policy(kl, 3) == policy(kl, 3)
    policy.observe(kl)


# ---------------------------------------------------------------------------------------------------------------------
# Autoencoders.


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


# ---------------------------------------------------------------------------------------------------------------------
# Encoders and decoders.


def decoder_of(kind, ordering, head):
    if kind == "factorised":
        return FactorisedDecoder(ordering, head, Z, Flat)
    return AutoregressiveDecoder(Autoregressive(ordering, head, NETWORKS["gru"], Sizes(glob=Z)))


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_decoders_are_distributions_given_each_code(kind):
    decoder = decoder_of(kind, raster(2, 3, 1), Bernoulli()).double()
    every = torch.tensor(list(product([0, 1], repeat=6))).view(-1, 2, 3, 1)
    with torch.no_grad():
        one, other = (decoder.log_prob(every, torch.full((64, Z), c).double()) for c in (0.5, -2.0))
    for nats in (one, other):
        torch.testing.assert_close(nats.exp().sum(), torch.ones(()).double())
    assert (one - other).abs().max() > 0.01
    drawn = decoder.sample(torch.full((9000, Z), 0.5).double()).flatten(1)
    count = torch.bincount((drawn * 2 ** torch.arange(5, -1, -1)).sum(1), minlength=64)
    expected = 9000 * one.exp()
    assert ((count - expected) ** 2 / expected).sum() < 63 + 4 * math.sqrt(2 * 63)  # chi-square


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_parameters_belong_to_places_whatever_the_order(whole_pixels):
    inner = raster(3, 5, 2, whole_pixels=whole_pixels)
    head = DiscretisedLogisticMixture(11, 2, components=2) if whole_pixels else Categorical(11)
    mixed = permuted(inner, torch.randperm(inner.length))
    decoder, other = (FactorisedDecoder(ordering, head, Z, Deconvolution) for ordering in (inner, mixed))
    other.network.load_state_dict(decoder.network.state_dict())
    x, z = torch.randint(11, (B, 3, 5, 2)), torch.randn(B, Z)
    torch.testing.assert_close(decoder.log_prob(x, z), other.log_prob(x, z))
    mode = decoder.sample(z, temperature=0)
    assert mode.shape == x.shape
    assert torch.equal(mode, other.sample(z, temperature=0))
    if not whole_pixels:
        parameters = decoder.network(z)
        assert parameters.shape == (B, 3, 5, 2, 11)
        assert torch.equal(mode, parameters.argmax(-1))
        expected = F.log_softmax(parameters, -1).gather(-1, x.unsqueeze(-1)).sum((1, 2, 3, 4))
        torch.testing.assert_close(decoder.log_prob(x, z), expected)
    with pytest.raises(ValueError, match="events of shape"):
        FactorisedDecoder(inner, Categorical(11) if whole_pixels else GaussianMixture(1, dims=2), Z, Flat)


@pytest.mark.parametrize(("height", "width"), [(11, 7), (13, 5), (2, 3)])
def test_an_image_model_of_odd_sizes(height, width):
    shape, levels = (height, width, 3), 17
    decoder = FactorisedDecoder(
        raster(*shape, whole_pixels=True), DiscretisedLogisticMixture(levels, 3, components=2), Z, Deconvolution
    )
    model = LatentModel(ConvolutionalEncoder(shape, 19, levels), UnitVarianceGaussian(19, Z), Learned(Z), decoder)
    x = torch.randint(levels, (B, *shape), dtype=torch.uint8)
    terms = model.terms(x)
    assert [tuple(t.shape) for t in terms] == [(B,), (B,), (B,), (B, Z), (B, Z)]
    loss(terms, Beta()).backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert missing <= {"prior.log_scale", "decoder.head.value.weight", "decoder.head.value.bias"}
    for images in (model.reconstruct(x), model.sample(B)):
        assert images.shape == x.shape
        assert 0 <= images.min() <= images.max() < levels


def test_deconvolution_grows_each_cell_where_it_stands():
    network = Deconvolution(Z, (11, 7, 2), 3, channels=5)
    plain = network(torch.zeros(1, Z))
    assert plain.shape == (1, 11, 7, 2, 3)
    with torch.no_grad():
        network.linear.bias.view(5, 3, 2)[:, 2, 0] += 1  # of 3 x 2 cells, each about 4 x 4 pixels
    moved = (network(torch.zeros(1, Z)) != plain)[0].flatten(2).all(2).nonzero()
    assert (moved.min(0).values.tolist(), moved.max(0).values.tolist()) == ([5, 0], [10, 6])


@pytest.mark.parametrize("encoder", [FlatEncoder, ConvolutionalEncoder])
def test_encoders_see_each_pixel_of_their_item_alone(encoder):
    shape, levels = (11, 7, 3), 5
    encode = encoder(shape, 19, levels)
    x = torch.randint(levels - 1, (B, *shape))
    features = encode(x)
    assert features.shape == (B, encode.size) == (B, 19)
    torch.testing.assert_close(encode(x[:1]), features[:1])
    for place in [(0, 0, 0), (10, 6, 2), (4, 3, 1)]:
        changed = x.clone()
        changed[(2, *place)] = levels - 1
        moved = (encode(changed) != features).any(1)
        assert moved[2]
        assert not moved[[0, 1, 3, 4, 5, 6]].any()


# ---------------------------------------------------------------------------------------------------------------------
# A mixture of K binary templates with flips, p(x) by summing over them, and models that use their code or do not.

K, HEIGHT, WIDTH, FLIP = 4, 3, 5, 0.05
PIXELS = HEIGHT * WIDTH
TEMPLATES = torch.stack([torch.arange(PIXELS) % n < n / 2 for n in (2, 4, 6, 15)]).long()


def mixture(count, generator=None):
    """Items [count, H, W, 1] and their classes."""
    label = torch.randint(K, (count,), generator=generator)
    flips = torch.rand(count, PIXELS, generator=generator) < FLIP
    return (TEMPLATES[label] ^ flips.long()).view(count, HEIGHT, WIDTH, 1), label


def mixture_log_prob(x):
    wrong = (x.view(-1, 1, PIXELS) != TEMPLATES).sum(-1).double()
    each = wrong * math.log(FLIP) + (PIXELS - wrong) * math.log(1 - FLIP)
    return each.logsumexp(1) - math.log(K)


def ridge(features, labels):
    """Accuracy on the second half of a linear fit of classes to the first, its features to one scale."""
    half = len(features) // 2
    x = (features - features[:half].mean(0)) / features[:half].std(0)
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1).double()
    fit, target = x[:half], F.one_hot(labels[:half]).double()
    weight = torch.linalg.solve(fit.T @ fit + 1e-3 * torch.eye(x.shape[1]).double(), fit.T @ target)
    return ((x[half:] @ weight).argmax(1) == labels[half:]).double().mean().item()


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


def diagnose(model, count=6000):
    x, label = mixture(count, torch.Generator().manual_seed(11))
    generator = torch.Generator().manual_seed(13)
    with torch.no_grad():
        code = model.encode(x)
        terms = model.terms(x, generator=generator, code=code)
    return (
        terms, active_units(code.mean), probe_code(code, terms, label, ridge),
        shuffled_reconstruction(model, x, generator), information(code, terms),
    )  # fmt: skip


ERROR = 3 * 0.5 / math.sqrt(3000)  # three standard errors of an accuracy, at most


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


def test_a_used_code_is_seen_to_be():
    terms, active, probed, rec, info = diagnose(by_hand(6.0))
    assert kl_per_group(terms).shape == (K - 1,)
    assert active == K - 1
    assert probed.samples > 0.97
    assert probed.cap == 1
    assert (rec.shuffled - rec.own).mean() > 5
    assert info.mutual == pytest.approx(math.log(K), abs=0.06)  # the class, and little of which item
    assert info.kl == pytest.approx(info.mutual + info.marginal)
    torch.testing.assert_close(terms.kl.sum(1).mean().item(), info.kl)


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
        joint = torch.full((classes, classes), (1 - accuracy) / (classes - 1)).double()
        joint.fill_diagonal_(accuracy)
        joint /= classes
        ratio = joint / (joint.sum(0) * joint.sum(1, keepdim=True))
        nats = torch.xlogy(joint, ratio).sum().item()
        assert fano(accuracy, classes) == pytest.approx(nats, abs=1e-6)
        assert fano_cap(nats, classes) == pytest.approx(accuracy, abs=1e-3)
    assert fano(0.1, 5) == 0  # below chance
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
                Autoregressive(ordering, head, partial(network, size=16, layers=2), Sizes(glob=G), cond=8)
            )
        encoder = FlatEncoder((HEIGHT, WIDTH, 1), 32, 2)
        models[kind] = model = LatentModel(encoder, DiagonalGaussian(32, G), Standard(G), decoder)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for step in range(800):
            optimizer.zero_grad()
            loss(model.terms(mixture(64)[0]), Beta(), step).backward()
            optimizer.step()
    return models


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_no_bound_beats_the_entropy(trained, kind):
    x, _ = mixture(4000, torch.Generator().manual_seed(19))
    with torch.no_grad():
        excess = mixture_log_prob(x) - elbo(trained[kind].terms(x)).double()
    assert excess.mean() > -3 * excess.std() / math.sqrt(len(x))
    assert excess.mean() < 1  # and it has learnt


@pytest.mark.parametrize("kind", ["factorised", "autoregressive"])
def test_what_is_drawn_is_like_the_source(trained, kind):
    """Cross-entropy: noise would cost more than twice as much."""
    drawn = mixture_log_prob(trained[kind].sample(700)).mean()
    source = mixture_log_prob(mixture(700)[0]).mean()
    noise = mixture_log_prob(torch.randint(2, (700, HEIGHT, WIDTH, 1))).mean()
    assert drawn > source - 2.5 > noise


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
