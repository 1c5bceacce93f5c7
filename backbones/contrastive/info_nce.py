"""Which of M candidates belongs to the query: a loss, and the mutual information that it proves.

van den Oord et al., "Representation learning with contrastive predictive coding" (2018).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LEAD = 1e-4
"""Nats by which a positive must lead: less is rounding, which would tell apart what is the same."""


def info_nce(
    scores: Float[Tensor, "*K N M"], positive: Int[Tensor, "*K N"], mask: Bool[Tensor, "*K N M"]
) -> tuple[Float[Tensor, "*K N"], Bool[Tensor, "*K N"]]:
    """``L = ln sum_m exp(s[m] - s[positive])`` over the candidates m that ``mask`` names (equation 4), in nats, summed
    in float32; and whether the positive leads all others. A tie is a miss: constant scores tell nothing apart.

    Scores outside the mask may be NaN: they reach neither value nor gradient. Where the positive itself is no
    candidate the loss is 0, without gradient, and the answer False.
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


def mutual_information_bound(
    loss: Float[Tensor, "*K N"], candidates: Int[Tensor, "*K N"]
) -> Float[Tensor, "*K N"]:
    """``ln N - L``, nats: its mean is at most I(target; context) (section 2.3), and never more than ln N is shown.

    ``candidates`` are N for each query, the positive included. It is a bound where negatives are drawn independently,
    of each other too, from the distribution of positives. Negatives that resemble the positive, as its neighbours in
    time do, lower it; those that resemble each other, or that no positive can be (an episode's first row), raise it.
    """
    return candidates.clamp(min=1).float().log() - loss
