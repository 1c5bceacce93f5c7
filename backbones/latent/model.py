"""Models of items through a latent code: autoencoders, variational autoencoders and models built on them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .codes import Code
from .decoders import Decoder
from .kl import KLPolicy
from .posteriors import Deterministic, Posterior
from .priors import Prior


class Terms(NamedTuple):
    """Terms of the coding cost of each of B items, in nats, with one code sampled for each."""

    rec: Tensor  # [B], -ln p(x given z)
    log_q: Tensor  # [B], ln q(z given x); infinite for an autoencoder
    log_p: Tensor  # [B], ln p(z); 0 for an autoencoder
    kl: Tensor  # [B, G], KL(q || p) of each group of the code, or one estimate; an autoencoder has no groups
    z: Tensor  # [B, Z]


class LatentModel(nn.Module):
    """Model ``p(x) = integral of p(x given z) p(z)`` with ``q(z given x)`` in place of the true posterior.

    ``encoder`` maps items [B, *shape] to features [B, F]. An autoencoder has a `Deterministic` posterior and no
    prior; a VAE a Gaussian one and any prior.
    """

    def __init__(self, encoder: nn.Module, posterior: Posterior, prior: Prior | None, decoder: Decoder) -> None:
        super().__init__()
        if isinstance(posterior, Deterministic) != (prior is None):
            raise ValueError("a deterministic posterior goes with no prior, every other one with a prior")
        sizes = [getattr(part, "size", None) for part in (posterior, prior, decoder)]
        if len({*sizes} - {None}) > 1:  # else a narrower prior would be broadcast
            raise ValueError("posterior, prior and decoder need codes of one size, not {}, {} and {}".format(*sizes))
        self.encoder, self.posterior, self.prior, self.decoder = encoder, posterior, prior, decoder

    def encode(self, x: Tensor) -> Code:
        """Return q over codes [B, Z] of items [B, *shape]."""
        code: Code = self.posterior(self.encoder(x))
        return code

    def terms(
        self,
        x: Tensor,
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        code: Code | None = None,
    ) -> Terms:
        """Return the terms of items [B, *shape].

        ``context`` [B, C] is the prior's; ``code`` is ``encode(x)`` where it is already known.
        """
        if self.prior is None and context is not None:
            raise ValueError("an autoencoder has no prior to read a context")
        code = self.encode(x) if code is None else code
        z = code.sample(generator)
        rec, log_q = -self.decoder.log_prob(x, z), code.log_prob(z)
        if self.prior is None:
            return Terms(rec, log_q, torch.zeros_like(rec), z[:, :0], z)
        log_p, kl = self.prior.log_prob(z, context), self.prior.kl(code, context)
        return Terms(rec, log_q, log_p, (log_q - log_p).unsqueeze(1) if kl is None else kl, z)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Reconstruct items [B, *shape] from one code sampled for each.

        Codes are not posterior means, which may carry more information than the KL accounts for.
        """
        return self.decoder.sample(self.encode(x).sample(generator), temperature, generator)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sample items [count, *shape] from codes of the prior; ``temperature`` is the decoder's."""
        if self.prior is None:
            raise ValueError("an autoencoder has no prior to draw codes from")
        return self.decoder.sample(self.prior.sample(count, context, generator), temperature, generator)


def loss(terms: Terms, policy: KLPolicy, step: int = 0) -> Tensor:
    """Return the loss [], in nats per item: ``mean_b rec_b`` plus the policy's term. With ``Beta()`` it is -ELBO."""
    nats: Tensor = terms.rec.mean() + policy(terms.kl, step)
    return nats


def elbo(terms: Terms) -> Tensor:
    """Return ``ln p(x given z) - KL(q || p)``, [B] in nats, whose mean over codes is at most ln p(x).

    It is minus infinity for an autoencoder, since coding a real number exactly takes infinitely many digits.
    """
    kl = terms.kl.sum(1) if terms.kl.shape[1] else terms.log_q - terms.log_p
    return -terms.rec - kl


def log_weight(terms: Terms) -> Tensor:
    """Return ``ln p(x given z) + ln p(z) - ln q(z given x)``, [B] in nats: the ELBO without an analytic KL.

    It equals ln p(x) for every code if q is the true posterior.
    """
    return -terms.rec + terms.log_p - terms.log_q


def iwae(
    model: LatentModel,
    x: Tensor,
    k: int,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return ``ln 1/k sum_i w_i`` over k codes, [B] in nats: in the mean at most ln p(x), and increasing with k.

    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (ICLR 2016).
    """
    if k < 1:
        raise ValueError(f"the bound needs 1 code or more, not {k}")
    code = model.encode(x)
    weights = [log_weight(model.terms(x, context, generator, code=code)) for _ in range(k)]
    return torch.stack(weights).logsumexp(0) - math.log(k)
