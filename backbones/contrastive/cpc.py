"""Contrastive predictive coding over sequences (van den Oord et al. 2018), reset where episodes begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_shape
from ..numerics import at_least_float32
from .actions import ActionContext, next_actions
from .head import ContrastiveHead, score
from .info_nce import info_nce, mutual_information_bound
from .pairs import draw, pair_mask, rows_of, usable_horizons

Source = Literal["batch", "others", "sequence", "both"]
"""Source of negatives: all rows; rows of other sequences; rows of the query's own sequence; half own, half others."""


class Contrast(NamedTuple):
    """Results of each of N queries at each of K horizons, unreduced: the caller takes the average."""

    value: Tensor  # [K, N] nats, the loss
    mask: Tensor  # [K, N] bool: there is a positive and at least one negative
    correct: Tensor  # [K, N] bool
    candidates: Tensor  # [K, N] int64, the positive included


class HorizonCurve(NamedTuple):
    """Means over the pairs of each horizon, [K] each; NaN where there are none."""

    loss: Tensor  # nats
    accuracy: Tensor
    chance: Tensor  # accuracy of a guess, 1 / N
    bound: Tensor  # nats, lower bound of I(z[t + k]; c[t])
    cap: Tensor  # nats, ln N: the maximum of ``bound``
    pairs: Tensor  # number of pairs


@torch.no_grad()
def curve(contrast: Contrast) -> HorizonCurve:
    """Return diagnostics for each horizon."""
    value, mask, correct, candidates = contrast
    pairs = mask.sum(-1)

    def mean(x: Tensor) -> Tensor:
        return torch.where(mask, x, 0.0).sum(-1) / pairs

    bound = mutual_information_bound(value, candidates)
    return HorizonCurve(
        mean(value), mean(correct.float()), mean(1 / candidates), mean(bound), mean(bound + value), pairs
    )


class CPC(nn.Module):
    """Contrastive loss: given the context ``c[t]`` [D], identify ``z[t + k]`` [E] among other rows.

    It has one term for each k of ``horizons``, in steps. At most ``queries`` rows t are drawn, the same for all
    horizons, and at most ``negatives`` candidates besides the positive; None: all. Candidates may be of any episode;
    both rows of a pair are of the same one. With ``actions``, the number of actions, a prediction is conditioned on the
    actions between t and t + k.

    With ``apart``, ``queries`` is the total number of pairs, divided evenly among the horizons that the sequences are
    long enough for. Each horizon draws its own rows, from those that have a pair at that horizon: more distinct rows at
    the same cost, and none without a pair.
    """

    steps: Tensor

    def __init__(
        self,
        context: int,
        target: int,
        horizons: Sequence[int],
        *,
        source: Source = "batch",
        queries: int | None = 256,
        negatives: int | None = 256,
        actions: int = 0,
        apart: bool = False,
    ) -> None:
        super().__init__()
        if not horizons or any(k < 1 or k % 1 for k in horizons):
            raise ValueError(f"horizons are whole numbers of steps ahead, 1 or more, not {list(horizons)}")
        if source not in get_args(Source):
            raise ValueError(f"source is {source!r}, not one of {', '.join(get_args(Source))}")
        for name, count in (("queries", queries), ("negatives", negatives)):
            if count is not None and count < 1:
                raise ValueError(f"{name} are 1 or more, or None for all, not {count}")
        if actions and apart:
            raise ValueError("actions are unrolled once per row, so with actions all horizons must share their rows")
        self.source, self.queries, self.negatives, self.apart = source, queries, negatives, apart
        self.horizons = tuple(int(k) for k in horizons)
        self.register_buffer("steps", torch.tensor(self.horizons), persistent=False)
        self.head = ContrastiveHead(context, target, len(horizons))
        self.actions = ActionContext(context, actions) if actions else None

    def forward(
        self,
        z: Tensor,
        c: Tensor,
        first: Tensor,
        valid: Tensor | None = None,
        *,
        action: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Contrast:
        """Return the results [K, N] for targets z [T, B, E] and contexts c [T, B, D].

        ``first`` is [T, B] bool; ``valid`` [T, B] bool is False for absent rows (None: all are present); ``action`` is
        [T - 1, B] int64. Absent rows, and contexts without a pair, may be NaN.

        ``generator``, on the device of z, is needed where there are more rows than are to be drawn. Raises ValueError
        if a shape does not match that of ``first``.
        """
        if (action is None) != (self.actions is None):
            raise ValueError("actions are given if, and only if, CPC was built with their number")
        T, B = first.shape
        valid = torch.ones_like(first) if valid is None else valid
        check_shape("z", z, T, B, "E")
        check_shape("c", c, T, B, "D")
        check_shape("valid", valid, T, B)
        if action is not None:
            check_shape("action", action, T - 1, B)
        K = usable_horizons(self.horizons, T)
        steps = self.steps[:K]
        pairs = pair_mask(first, steps, valid).flatten(1)
        z = torch.where(valid.unsqueeze(-1), z, 0.0).flatten(0, 1)  # row t B + b
        c = torch.where(pairs.any(0).unsqueeze(-1), c.flatten(0, 1), 0.0)
        # The positive's score and those of the negatives are computed, and so rounded, differently; where scores are
        # large, this difference could distinguish equal rows. The mean of z does not change the softmax, so it is
        # subtracted, which makes scores as small as the differences of z.
        z = at_least_float32(z)
        z = z - z.detach().sum(0) / valid.sum().clamp(min=1)
        query = self._queries(pairs, generator)
        there = pairs.gather(1, query.expand(K, -1))
        target = (query + B * steps.unsqueeze(-1)).clamp(max=T * B - 1)  # [K, N]

        known = None if action is None else torch.where(valid[:-1], action, 0)
        prediction = self.head.predict(self._contexts(c, query, known, K), K)
        scores, masks = [(prediction * rows_of(z, target)).sum(-1, keepdim=True)], [there.unsqueeze(-1)]
        for rows, free in self._negatives(query, valid, generator):
            scores.append(score(prediction, rows_of(z, rows)))
            masks.append((free & (target != rows)).movedim(0, -1))  # the positive is included already
        mask = torch.cat(masks, dim=-1)
        value, correct = info_nce(torch.cat(scores, dim=-1), torch.zeros_like(target), mask)
        candidates = mask.sum(-1)
        found = value, there & (candidates > 1), correct, candidates
        return Contrast(*(F.pad(x, (0, 0, 0, len(self.horizons) - K)) for x in found))

    def _queries(self, pairs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw rows [K, N], or [1, N] if all horizons share them, from those with a pair in ``pairs`` [K, T B]."""
        if not self.apart:
            return draw(pairs.any(0), self.queries, generator).unsqueeze(0)
        share = None if self.queries is None else math.ceil(self.queries / len(pairs))
        return draw(pairs.T, share, generator).T

    def _contexts(self, c: Tensor, query: Tensor, action: Tensor | None, K: int) -> Tensor:
        """Return the contexts of the queries: [K or 1, N, D], or with actions [K, N, D]."""
        if self.actions is None or action is None:
            return rows_of(c, query)
        unrolled: Tensor = self.actions(rows_of(c, query[0]), next_actions(action, query[0], max(self.horizons[:K])))
        return unrolled[self.steps[:K] - 1]

    def _negatives(
        self, query: Tensor, valid: Tensor, generator: torch.Generator | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Draw rows and a mask of usable ones, [M, K or 1, N] each, or [M, 1, 1] if all queries share them."""
        B, there = valid.shape[1], valid.flatten()
        own = others = self.negatives
        if self.source == "both" and self.negatives is not None:
            own, others = self.negatives // 2, self.negatives - self.negatives // 2
        found = []
        if self.source in ("sequence", "both"):
            rows = draw(valid, own, generator) * B + torch.arange(B, device=valid.device)
            rows = rows[:, query % B]
            found.append((rows, there[rows]))
        if self.source != "sequence":
            rows = draw(there, others, generator).view(-1, 1, 1)
            free = there[rows]
            found.append((rows, free if self.source == "batch" else free & (rows % B != query % B)))
        return found
