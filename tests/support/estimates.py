"""Seeded generators, and means of samples beside their standard errors."""

import math

import torch


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def mean_and_error(x):
    """Of independent values [N]: their mean and its standard error."""
    return x.mean().item(), x.std().item() / math.sqrt(len(x))


def assert_mean(values, expected):
    """Equal within 3 standard errors, which are above rounding."""
    mean, error = mean_and_error(values)
    assert abs(mean - expected) < 3 * error + 1e-12, (mean, expected, error)
