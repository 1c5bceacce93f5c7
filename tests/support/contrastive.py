"""What tests of contrastive learning share: known information, random batches, and the bounds that training reaches."""

import math

import torch
from torch.nn import functional as F

from morello.backbones.contrastive import curve

from .descent import descend

T, B, E, D = 11, 5, 7, 3
SOURCES = ["batch", "others", "sequence", "both"]


def exact_bound(symbols, error, candidates):
    """ln N - L of the optimal critic on the symmetric channel: L = E[-ln r / (r + J a + (N - 1 - J) b)], where J of the
    N - 1 negatives equal the query, J ~ Binomial(N - 1, 1 / symbols), and r = a if the channel made no error, else b.
    """
    a = symbols * (1 - error)
    b = symbols * error / (symbols - 1)
    others, p, loss = candidates - 1, 1 / symbols, 0.0
    for j in range(others + 1):
        log_weight = math.lgamma(others + 1) - math.lgamma(j + 1) - math.lgamma(others - j + 1)
        weight = math.exp(log_weight + j * math.log(p) + (others - j) * math.log(1 - p))
        rest = j * a + (others - j) * b
        for r, probability in ((a, 1 - error), (b, error)):
            if probability:
                loss -= weight * probability * math.log(r / (r + rest))
    return math.log(candidates) - loss


def gaussian_information(rho, d=1):
    return -d / 2 * math.log(1 - rho**2)


def squares(z):
    """Features in which the log density ratio of Gaussians is bilinear."""
    return torch.cat([z, z**2], dim=-1)


def with_one(c):
    return F.pad(c, (0, 1), value=1.0)


def batch(T=T, B=B, resets=0.15, gaps=0.15):
    first, valid = torch.rand(T, B) < resets, torch.rand(T, B) >= gaps
    return torch.randn(T, B, E), torch.randn(T, B, D), first, valid


def learn(model, loss, steps, rate):
    def mean():
        value, mask, *_ = loss()
        return torch.where(mask, value, 0.0).sum() / mask.sum()

    descend(model, mean, steps, rate)


@torch.no_grad()
def bounds(loss, batches=20):
    """Mean and standard error [K] over fresh batches."""
    each = torch.stack([curve(loss()).bound for _ in range(batches)])
    return each.mean(0), each.std(0) / math.sqrt(batches)
