"""Is the code used? Measures, and which of them a collapsed code fools.

A probe on posterior *means* is fooled: it takes means that differ by a millionth as well as means that differ by one,
although a code drawn around them says next to nothing. So probes here read codes as drawn, and are held to what the
KL has paid for.
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
"""(features [N, F], labels [N]) -> accuracy on items that it was not fitted on."""


def kl_per_group(terms: Terms) -> Tensor:
    """[G], nats: the mean over items."""
    return terms.kl.mean(0)


def active_units(mean: Tensor, threshold: float = 0.01) -> int:
    """How many of a code's numbers have means [N, Z] that vary over items by more than ``threshold`` (Burda, Grosse and
    Salakhutdinov, "Importance weighted autoencoders", ICLR 2016).

    The threshold presumes the prior N(0, I), beside whose variance of 1 it is little. Under a learned prior that has
    grown wide even a collapsed code shows all its units active: divide means by the prior's scales first.
    """
    return int((mean.var(0, unbiased=False) > threshold).sum())


def fano(accuracy: float, classes: int) -> float:
    """The least nats with which one of ``classes`` equally frequent labels can be told as accurately as that:
    ``ln K - H2(a) - (1 - a) ln(K - 1)`` (Fano's inequality); 0 where chance does as well.
    """
    a = max(accuracy, 1 / classes)
    right, wrong = a * math.log(a * classes), 0.0
    if a < 1:
        wrong = (1 - a) * math.log((1 - a) * classes / (classes - 1))
    return max(0.0, right + wrong)


def fano_cap(nats: float, classes: int) -> float:
    """The highest accuracy that so many nats allow: the inverse of ``fano``, to 1e-9, by bisection."""
    low, high = 1 / classes, 1.0
    if fano(high, classes) <= nats:
        return high
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if fano(middle, classes) <= nats else (low, middle)
    return low


class Probed(NamedTuple):
    """What a probe finds in a code."""

    samples: float  # accuracy on codes as drawn
    means: float  # on posterior means: high whether collapsed or not
    cap: float  # what ``samples`` cannot exceed, but for chance, by Fano's inequality at I(x; z) = KL


def probe_code(code: Code, terms: Terms, labels: Tensor, probe: Probe) -> Probed:
    """Of N items with ``labels`` [N], 0 to K - 1, each as frequent, and their ``terms``, drawn from ``code``.

    The cap holds for a prior that is told nothing: only then is the mean KL at least I(x; z).
    """
    cap = fano_cap(float(terms.kl.sum(1).mean()), int(labels.max()) + 1)
    return Probed(probe(terms.z, labels), probe(code.mean, labels), cap)


class ShuffledReconstruction(NamedTuple):
    """-ln p(x given z) [N] of each item, nats."""

    own: Tensor
    shuffled: Tensor  # from another item's code: no worse where the code is ignored


@torch.no_grad()
def shuffled_reconstruction(
    model: LatentModel, x: Tensor, generator: torch.Generator | None = None
) -> ShuffledReconstruction:
    """Of items [N, *shape], N > 1, each with its own code and with that of another item, picked at random."""
    z = model.encode(x).sample(generator)
    around = torch.randperm(len(x), generator=generator, device=x.device)
    other = torch.empty_like(around)
    other[around] = around.roll(1)  # one cycle through all items: none keeps its own
    return ShuffledReconstruction(-model.decoder.log_prob(x, z), -model.decoder.log_prob(x, z[other]))


class Information(NamedTuple):
    """Where the KL goes, in nats: ``kl = mutual + marginal`` (Hoffman and Johnson, "ELBO surgery", 2016)."""

    kl: float  # mean over items of KL(q(z given x) || p(z))
    marginal: float  # KL(q(z) || p(z)), q(z) the mean of all items' posteriors
    mutual: float  # between item and code
    cap: float  # ln N, which ``mutual`` of N items cannot exceed: take more of them if it comes near


@torch.no_grad()
def information(code: Code, terms: Terms) -> Information:
    """Of N items and their ``terms``, drawn from ``code`` under a prior that is told nothing.

    ``mutual`` is estimated by the mean of ln q(z given x) - ln q(z), ``marginal`` by what it leaves of the KL. q(z) is
    the mixture of these N posteriors, each draw's own among them.
    """
    n = len(terms.z)
    # [256, N, Z] at a time.
    log_q = torch.cat([code.log_prob(z.unsqueeze(1)).logsumexp(1) for z in torch.split(terms.z, 256)]) - math.log(n)
    kl, mutual = float(terms.kl.sum(1).mean()), float((terms.log_q - log_q).mean())
    return Information(kl, kl - mutual, mutual, math.log(n))
