"""Every item of a small source, and what follows from the law of all of them."""

import math

import torch


def every_item(source):
    """[symbols ** D, *shape]: item n has the digits of n, the first symbol the highest."""
    D = math.prod(source.shape)
    number = torch.arange(source.symbols**D).unsqueeze(-1)
    return (number // source.symbols ** torch.arange(D - 1, -1, -1) % source.symbols).reshape(-1, *source.shape)


def number_of(x, symbols):
    """The inverse of ``every_item``."""
    x = x.flatten(1)
    return (x * symbols ** torch.arange(x.shape[1] - 1, -1, -1)).sum(-1)


def surprise(counts, p):
    """How many standard deviations the chi-square statistic of ``counts`` lies above its mean; cells of fewer than
    five expected counts are one cell.
    """
    assert counts[p == 0].sum() == 0
    expected = p * counts.sum()
    rare = expected < 5
    counts = torch.cat([counts[~rare].double(), counts[rare].sum().double().unsqueeze(0)])
    expected = torch.cat([expected[~rare], expected[rare].sum().unsqueeze(0)])
    used = expected > 0
    freedom = int(used.sum()) - 1
    statistic = ((counts - expected)[used] ** 2 / expected[used]).sum().item()
    return (statistic - freedom) / math.sqrt(2 * freedom)


def plain_entropy(p):
    return -sum(q * math.log(q) for q in p.flatten().tolist() if q > 0)


def joint_entropy(p, items, columns):
    """Of some symbols together, from the law of items."""
    if not columns:
        return 0.0
    _, cell = number_of(items.flatten(1)[:, columns], int(items.max()) + 1).unique(return_inverse=True)
    return plain_entropy(torch.zeros(int(cell.max()) + 1, dtype=p.dtype).index_add_(0, cell, p))


def least(p, items, seen):
    """Nats an item of the best model that sees, of the symbols before t, only ``seen(t)``."""
    D = items.flatten(1).shape[1]
    return sum(joint_entropy(p, items, [*seen(t), t]) - joint_entropy(p, items, seen(t)) for t in range(D))
