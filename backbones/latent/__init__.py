"""Latent variable models: encoder, posterior, prior, decoder and the treatment of the KL in the loss."""

from .decoders import AutoregressiveDecoder, Decoder, FactorisedDecoder
from .kl import KL_POLICIES, KLPolicy
from .model import LatentModel, Terms, elbo, iwae, log_weight, loss
from .posteriors import POSTERIORS, Posterior
from .priors import PRIORS, Prior

__all__ = [
    "KL_POLICIES",
    "POSTERIORS",
    "PRIORS",
    "AutoregressiveDecoder",
    "Decoder",
    "FactorisedDecoder",
    "KLPolicy",
    "LatentModel",
    "Posterior",
    "Prior",
    "Terms",
    "elbo",
    "iwae",
    "log_weight",
    "loss",
]
