"""Linear-Gaussian data, of which p(x) and p(z given x) are known, and latent models of them."""

import math
from functools import partial

import torch
from torch import distributions as D
from torch import nn

from morello.backbones.autoregressive import Ordering
from morello.backbones.autoregressive.heads import GaussianMixture
from morello.backbones.latent import FactorisedDecoder, LatentModel
from morello.backbones.latent.decoders import Flat
from morello.backbones.latent.posteriors import Deterministic, DiagonalGaussian
from morello.backbones.latent.priors import Standard

X, Z = 5, 2  # numbers an item, numbers a code

# x = W z + mu + sigma noise, z ~ N(0, I). p(x) and p(z given x) are Gaussian.
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
