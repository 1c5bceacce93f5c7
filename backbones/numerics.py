"""Numerical helpers for densities: precision, log-probabilities, one-hot categories and scaled pixel levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def at_least_float32(x: Tensor) -> Tensor:
    """Return ``x`` in at least float32.

    Half precision resolves log-probabilities only to one or two nats, too coarse for prediction gains.
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def running_dtype(device: torch.device) -> torch.dtype:
    """Return the precision in which products run here and now: that of autocast where it is on, float32 elsewhere."""
    kind = device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else torch.float32


def log_prob(logits: Tensor, index: Tensor) -> Tensor:
    """Return ``ln softmax(logits)[index]``, [...] in nats, from logits [..., A] and index [...] int64."""
    return F.log_softmax(logits, dim=-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


def one_hot(index: Tensor, count: int) -> Tensor:
    """Map indices [...] to [..., count] bool; an index out of range, such as -1 for none, gives all False."""
    # F.one_hot is avoided because it checks the range on the host.
    return index.unsqueeze(-1) == torch.arange(count, device=index.device)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return ``sum_j ln N(x_j; mean_j, scale_j^2)`` over the last axis: [..., Z] each, broadcast, to [...] nats."""
    mean, log_scale = at_least_float32(mean), at_least_float32(log_scale)
    distance = (x - mean) * torch.exp(-log_scale)
    return -(distance.square() / 2 + log_scale + LOG_2PI / 2).sum(-1)


def scaled(x: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Map levels 0 to ``levels - 1`` linearly to [-1, 1]."""
    return 2 * x.to(dtype) / (levels - 1) - 1
