"""Channels: their best critics against densities, and the best bounds against tables, enumeration and quadrature."""

import itertools
import math

import pytest
import torch

from morello.backbones.sources import AutoregressivePairs, GaussianChannel, SymmetricChannel
from morello.backbones.sources.channels import binomial, info_nce

from ...support.estimates import generator

CHANNEL = {
    "gaussian": lambda: GaussianChannel(3, 0.7),
    "anticorrelated": lambda: GaussianChannel(1, -0.5),
    "autoregressive": lambda: AutoregressivePairs(3, 0.9, 2),
    "symmetric": lambda: SymmetricChannel(5, 0.3),
    "noiseless": lambda: SymmetricChannel(7, 0.0),
}


@pytest.mark.parametrize("name", CHANNEL)
def test_the_best_critic_averages_to_the_mutual_information(name):
    channel = CHANNEL[name]()
    a, b = channel.sample(20_011, generator())
    ratio = channel.log_ratio(a, b)
    assert (ratio.shape, ratio.dtype) == ((20_011,), torch.float64)
    assert abs(ratio.mean() - channel.mutual_information()) <= 3 * ratio.std() / 20_011**0.5 + 1e-12
    pairs = channel.log_ratios(a[:11], b[:13])
    assert pairs.shape == (11, 13)
    for i, j in itertools.product(range(11), range(13)):
        torch.testing.assert_close(pairs[i, j], channel.log_ratio(a[i : i + 1], b[j : j + 1])[0])
    # A ratio of densities averages to 1 over independent pairs.
    apart = channel.log_ratio(a[1:], b[:-1]).exp()
    assert abs(apart.mean() - 1) < 4 * apart.std() / 20_010**0.5


def test_the_gaussian_critic_is_the_ratio_of_densities():
    rho = -0.6
    channel = GaussianChannel(2, rho)
    a, b = channel.sample(17, generator())
    joint = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64)
    )
    alone = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    a, b = a.double(), b.double()
    each = joint.log_prob(torch.stack([a, b], dim=-1)) - alone.log_prob(a) - alone.log_prob(b)
    torch.testing.assert_close(channel.log_ratio(a, b), each.sum(-1))


def test_the_discrete_critic_is_the_ratio_of_probabilities():
    K, e = 5, 0.3
    channel = SymmetricChannel(K, e)
    total = 0.0
    for a, b in itertools.product(range(K), range(K)):
        p = (1 - e if a == b else e / (K - 1)) / K
        ratio = channel.log_ratio(torch.tensor([a]), torch.tensor([b])).item()
        assert ratio == pytest.approx(math.log(p * K * K))
        total += p * ratio
    assert channel.mutual_information() == pytest.approx(total)


def test_rows_of_a_walk_tell_of_later_ones_what_their_pairs_say():
    rho, steps = 0.95, 4
    x = torch.randn(20_011, generator=generator(), dtype=torch.float64)
    start = x
    for k in range(steps):
        x = rho * x + math.sqrt(1 - rho**2) * torch.randn(20_011, generator=generator(k + 5), dtype=torch.float64)
    a, b = start.unsqueeze(-1), x.unsqueeze(-1)
    channel = AutoregressivePairs(1, rho, steps)
    ratio = channel.log_ratio(a, b)
    assert abs(ratio.mean() - channel.mutual_information()) < 3 * ratio.std() / 20_011**0.5
    tabulated = {1: 4.656, 2: 3.369, 4: 2.178, 8: 1.160, 12: 0.691, 16: 0.431, 30: 0.094}
    for k, nats in tabulated.items():
        assert AutoregressivePairs(4, rho, k).mutual_information() == pytest.approx(nats, abs=5e-4)


@pytest.mark.parametrize(
    ("symbols", "error", "nats", "best"),
    [
        (4, 0.1, 0.9514, {2: 0.3773, 16: 0.8782, 256: 0.9469}),
        (16, 0.1, 2.1767, {16: 1.7852, 256: 2.1531}),
        (256, 0.0, 5.5452, {16: 2.7324, 256: 4.9733, 4096: 5.5137}),
    ],
)
def test_the_best_discrete_bounds_are_those_tabulated(symbols, error, nats, best):
    channel = SymmetricChannel(symbols, error)
    assert channel.mutual_information() == pytest.approx(nats, abs=5e-5)
    for N, bound in best.items():
        assert channel.info_nce_optimum(N) == (pytest.approx(bound, abs=5e-5), 0)


def test_the_best_discrete_bound_is_that_of_all_batches():
    K, e, N = 3, 0.2, 4
    channel = SymmetricChannel(K, e)

    def ratio(a, b):
        return K * (1 - e) if a == b else K * e / (K - 1)

    loss = 0.0
    for a, b, *others in itertools.product(range(K), repeat=N + 1):
        p = (1 - e if a == b else e / (K - 1)) / K**N
        loss -= p * math.log(ratio(a, b) / (ratio(a, b) + sum(ratio(a, c) for c in others)))
    assert channel.info_nce_optimum(N) == (pytest.approx(math.log(N) - loss), 0)
    value, error = super(SymmetricChannel, channel).info_nce_optimum(N)
    assert abs(value - (math.log(N) - loss)) < 3 * error


def test_binomial_probabilities():
    chances = [math.comb(11, j) * 0.3**j * 0.7 ** (11 - j) for j in range(12)]
    assert binomial(11, 0.3).tolist() == pytest.approx(chances)


@pytest.mark.parametrize(
    ("d", "rho", "nats", "best"),
    [
        (1, 0.5, 0.144, {64: 0.145}),
        (4, 0.8, 2.043, {8: 1.346, 64: 1.874, 512: 2.039}),
        (10, 0.9, 8.304, {8: 2.073, 64: 4.098, 512: 5.916}),
    ],
)
def test_the_best_gaussian_bounds_are_those_tabulated(d, rho, nats, best):
    channel = GaussianChannel(d, rho)
    assert channel.mutual_information() == pytest.approx(nats, abs=5e-4)
    for N, tabulated in best.items():
        bound, error = channel.info_nce_optimum(N)
        # The table is from 2000 pairs or more, this from 2 ** 14.
        assert abs(bound - tabulated) < 3 * error * math.sqrt(1 + 2**14 / 2000)
        assert bound < min(nats, math.log(N)) + 3 * error


def test_the_best_gaussian_bound_is_that_of_quadrature():
    """Of two candidates, in one dimension: a sum over a grid of a, the noise and the other."""
    rho = 0.8
    grid = torch.linspace(-7, 7, 141, dtype=torch.float64)
    weight = torch.exp(-(grid**2) / 2)
    weight /= weight.sum()
    a, noise, other = torch.meshgrid(grid, grid, grid, indexing="ij")
    b = rho * a + math.sqrt(1 - rho**2) * noise

    def f(b):  # log p(b given a) - log p(b), up to a constant
        return -((b - rho * a) ** 2) / (2 * (1 - rho**2)) + b**2 / 2

    loss = torch.einsum("i,j,k,ijk->", weight, weight, weight, torch.log1p((f(other) - f(b)).exp())).item()
    bound, error = GaussianChannel(1, rho).info_nce_optimum(2)
    assert error < 0.005
    assert abs(bound - (math.log(2) - loss)) < 3 * error


def test_info_nce_is_log_n_less_the_cross_entropy():
    f = torch.randn(5, 5, dtype=torch.float64, generator=generator())
    losses = [-math.log(math.exp(f[i, i]) / sum(math.exp(f[i, j]) for j in range(5))) for i in range(5)]
    assert info_nce(f).item() == pytest.approx(math.log(5) - sum(losses) / 5)
    assert info_nce(torch.full((5, 5), 0.3)).item() == pytest.approx(0, abs=1e-6)  # who knows nothing
