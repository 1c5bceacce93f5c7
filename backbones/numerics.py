"""What densities are reckoned with: precision, log-probabilities, categories and levels of pixels as numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def at_least_float32(x: Tensor) -> Tensor:
    """``x``, not in half precision: there nats are good to one or two, and a prediction gain is gone."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def log_prob(logits: Tensor, index: Tensor) -> Tensor:
    """``ln softmax(logits)[index]``: [..., A], [...] int64 -> [...], nats."""
    return F.log_softmax(logits, dim=-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


def one_hot(index: Tensor, count: int) -> Tensor:
    """[...] -> [..., count] bool; of an index outside, such as -1 for none, nothing is True."""
    # Not F.one_hot, which would have the host check the range.
    return index.unsqueeze(-1) == torch.arange(count, device=index.device)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """``sum_j ln N(x_j; mean_j, scale_j^2)`` over the last axis, [..., Z] each, broadcast -> [...], nats."""
    mean, log_scale = at_least_float32(mean), at_least_float32(log_scale)
    distance = (x - mean) * torch.exp(-log_scale)
    return -(distance.square() / 2 + log_scale + LOG_2PI / 2).sum(-1)


def scaled(x: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Levels 0 to ``levels - 1`` -> [-1, 1]."""
    return 2 * x.to(dtype) / (levels - 1) - 1
