"""InfoNCE: loss of identifying the positive among M candidates, and the mutual-information bound that it implies.

van den Oord et al., "Representation learning with contrastive predictive coding" (2018).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LEAD = 1e-4
"""Nats by which a positive must lead; smaller differences are rounding errors between equal candidates."""


def info_nce(
    scores: Float[Tensor, "*K N M"], positive: Int[Tensor, "*K N"], mask: Bool[Tensor, "*K N M"]
) -> tuple[Float[Tensor, "*K N"], Bool[Tensor, "*K N"]]:
    """Return the loss and whether the positive leads all other candidates.

    The loss is ``L = ln sum_m exp(s[m] - s[positive])`` over the candidates m in ``mask`` (equation 4), in nats, summed
    in float32. A tie counts as a miss, so that constant scores are never correct. Scores outside the mask may be NaN:
    they affect neither value nor gradient. Where the positive is not a candidate, the loss is 0, without gradient, and
    the second result False.
    """
    at = positive.unsqueeze(-1)
    there = mask.gather(-1, at)
    # Rows without a positive become zeros: a log-sum-exp over nothing would have a NaN gradient.
    kept = torch.where(there, torch.where(mask, scores.float(), -torch.inf), 0.0)
    own = kept.gather(-1, at)
    loss = (kept - own).logsumexp(-1)
    others = kept.scatter(-1, at, -torch.inf).amax(-1)
    there = there.squeeze(-1)
    return torch.where(there, loss, 0.0), there & (own.squeeze(-1) > others + LEAD)


def mutual_information_bound(loss: Float[Tensor, "*K N"], candidates: Int[Tensor, "*K N"]) -> Float[Tensor, "*K N"]:
    """Return ``ln N - L`` in nats, whose mean is a lower bound of I(target; context) (section 2.3), capped at ln N.

    ``candidates`` holds N for each query, the positive included. The bound holds if negatives are drawn independently,
    also of each other, from the distribution of positives. Negatives that resemble the positive, such as its neighbours
    in time, lower it; negatives that resemble each other, or that can never be a positive (an episode's first row),
    raise it.
    """
    return candidates.clamp(min=1).float().log() - loss
