"""A variational autoencoder of views (Kingma & Welling 2014), whose mean codes serve as features."""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ....backbones.latent.decoders import Deconvolution, Flat
from ....backbones.numerics import LOG_2PI
from ...generators import Draws
from .networks import Embedding
from .view import View, Views

FLOOR = 1e-2
"""Least variance of the decoder, in whitened units: a view that is told exactly is not worth ever more."""


def gaussian_kl(mean: Float[Tensor, "*rows D"], log_variance: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows"]:
    """Compute KL(N(mean, variance) || N(0, 1)) in nats, summed over D (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2


class Autoencoder(nn.Module):
    """Views of N observations -> codes [N, size]: convolutions and a linear layer; transposed convolutions back to the
    image, and a perceptron back to the vector. The decoder is Gaussian with one learnt variance.
    """

    def __init__(self, view: View, size: int) -> None:
        super().__init__()
        self.size, self.values = size, sum(math.prod(shape) for shape in view.shapes.values())
        self.encoder = Embedding(view, (2 * size,), partial(nn.LeakyReLU, 0.2))
        self.decoders = nn.ModuleDict()
        for name, shape in view.shapes.items():
            places = (*shape[1:], shape[0]) if name == "image" else shape
            self.decoders[name] = (Deconvolution if name == "image" else Flat)(size, places, 1)
        self.log_variance = nn.Parameter(torch.zeros(()))
        self.draws = Draws()

    def posterior(self, views: Views) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the codes, [N, size] each."""
        mean, log_variance = self.encoder(views).chunk(2, -1)
        return mean, log_variance.clamp(-10, 10)

    def costs(self, views: Views, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a view and its code cost, [N] each, in nats per value of a view: -ln p(view given a sampled
        code), and the KL.
        """
        noise = torch.randn(mean.shape, generator=self.draws.on(mean.device), device=mean.device)
        code = mean + (log_variance / 2).exp() * noise
        squares: list[Tensor] = []
        for name, decoder in self.decoders.items():
            guess = decoder(code).squeeze(-1).float()
            guess = guess.permute(0, 3, 1, 2) if name == "image" else guess
            squares.append((guess - views[name]).square().flatten(1).sum(-1))
        variance = self.log_variance.exp() + FLOOR
        told = torch.stack(squares).sum(0) / self.values / variance
        return (told + variance.log() + LOG_2PI) / 2, gaussian_kl(mean, log_variance) / self.values
