"""Items from a mixture of K binary templates with flips, p(x) by summing over them, and what their codes say."""

import math

import torch
from torch.nn import functional as F

from morello.backbones.latent.diagnostics import active_units, information, probe_code, shuffled_reconstruction

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


def diagnose(model, count=6000):
    x, label = mixture(count, torch.Generator().manual_seed(11))
    generator = torch.Generator().manual_seed(13)
    with torch.no_grad():
        code = model.encode(x)
        terms = model.terms(x, generator=generator, code=code)
    return (
        terms,
        active_units(code.mean),
        probe_code(code, terms, label, ridge),
        shuffled_reconstruction(model, x, generator),
        information(code, terms),
    )


ERROR = 3 * 0.5 / math.sqrt(3000)  # three standard errors of an accuracy, at most
