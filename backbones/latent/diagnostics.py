"""Diagnostics of whether a model uses its code, robust to posterior collapse where possible.

A probe on posterior *means* is misled by a collapsed code: it works as well on means that differ by a millionth as on
means that differ by one, although codes sampled around the former carry almost no information. Probes here therefore
read sampled codes, and their accuracy is compared with the most that the KL allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .codes import Code
from .model import LatentModel, Terms

Probe = Callable[[Tensor, Tensor], float]
"""Function of (features [N, F], labels [N]) that returns the accuracy on items that it was not fitted to."""


def kl_per_group(terms: Terms) -> Tensor:
    """Return the mean KL over items, [G] in nats."""
    return terms.kl.mean(0)


def active_units(mean: Tensor, threshold: float = 0.01) -> int:
    """Count the components whose posterior means [N, Z] have a variance over items above ``threshold``.

    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (ICLR 2016). The threshold presumes the prior
    N(0, I), compared with whose variance of 1 it is small. Under a learned prior that has become wide, even a collapsed
    code has all its units active: divide means by the prior's scales first.
    """
    return int((mean.var(0, unbiased=False) > threshold).sum())


def fano(accuracy: float, classes: int) -> float:
    """Return the least information, in nats, with which K = ``classes`` equally frequent labels can be predicted with
    accuracy a.

    It is ``ln K - H2(a) - (1 - a) ln(K - 1)`` (Fano's inequality), and 0 at or below chance accuracy.
    """
    a = max(accuracy, 1 / classes)
    right, wrong = a * math.log(a * classes), 0.0
    if a < 1:
        wrong = (1 - a) * math.log((1 - a) * classes / (classes - 1))
    return max(0.0, right + wrong)


def fano_cap(nats: float, classes: int) -> float:
    """Return the highest accuracy that ``nats`` of information allow: the inverse of ``fano``, by bisection to 1e-9."""
    low, high = 1 / classes, 1.0
    if fano(high, classes) <= nats:
        return high
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if fano(middle, classes) <= nats else (low, middle)
    return low


class Probed(NamedTuple):
    """Accuracies of a probe on a code."""

    samples: float  # accuracy on sampled codes
    means: float  # accuracy on posterior means: high whether collapsed or not
    cap: float  # upper bound of ``samples``, up to chance, by Fano's inequality at I(x; z) = KL


def probe_code(code: Code, terms: Terms, labels: Tensor, probe: Probe) -> Probed:
    """Probe the code of N items with ``labels`` [N], 0 to K - 1, equally frequent, and ``terms`` sampled from ``code``.

    The cap holds for a prior without context: only then is the mean KL at least I(x; z).
    """
    cap = fano_cap(float(terms.kl.sum(1).mean()), int(labels.max()) + 1)
    return Probed(probe(terms.z, labels), probe(code.mean, labels), cap)


class ShuffledReconstruction(NamedTuple):
    """Reconstruction costs ``-ln p(x given z)`` of each item, [N] in nats."""

    own: Tensor
    shuffled: Tensor  # given another item's code; equal to ``own`` where the code is ignored


@torch.no_grad()
def shuffled_reconstruction(
    model: LatentModel, x: Tensor, generator: torch.Generator | None = None
) -> ShuffledReconstruction:
    """Return the costs of items [N, *shape], N > 1, given their own codes and given those of other random items."""
    z = model.encode(x).sample(generator)
    around = torch.randperm(len(x), generator=generator, device=x.device)
    other = torch.empty_like(around)
    other[around] = around.roll(1)  # one cycle through all items, so that none keeps its own code
    return ShuffledReconstruction(-model.decoder.log_prob(x, z), -model.decoder.log_prob(x, z[other]))


class Information(NamedTuple):
    """Decomposition of the KL, in nats: ``kl = mutual + marginal`` (Hoffman and Johnson, "ELBO surgery", 2016)."""

    kl: float  # mean over items of KL(q(z given x) || p(z))
    marginal: float  # KL(q(z) || p(z)), where q(z) is the mean of all items' posteriors
    mutual: float  # mutual information of item and code
    cap: float  # ln N, the maximum of ``mutual`` for N items; use more items if it comes near


@torch.no_grad()
def information(code: Code, terms: Terms) -> Information:
    """Decompose the KL of N items and their ``terms``, sampled from ``code`` under a prior without context.

    ``mutual`` is estimated by the mean of ln q(z given x) - ln q(z), ``marginal`` by the remainder of the KL. q(z) is
    the mixture of these N posteriors, including each sample's own.
    """
    n = len(terms.z)
    # In chunks of [256, N, Z].
    log_q = torch.cat([code.log_prob(z.unsqueeze(1)).logsumexp(1) for z in torch.split(terms.z, 256)]) - math.log(n)
    kl, mutual = float(terms.kl.sum(1).mean()), float((terms.log_q - log_q).mean())
    return Information(kl, kl - mutual, mutual, math.log(n))
