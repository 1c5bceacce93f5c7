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
"""Where negatives are from: any row; any but the query's own sequence; that sequence alone; half own, half others."""


class Contrast(NamedTuple):
    """What each of N queries makes of its candidates at each of K horizons: unreduced, averaging is the learner's."""

    value: Tensor  # [K, N] nats, the loss
    mask: Tensor  # [K, N] bool: there is a positive, and something to tell it from
    correct: Tensor  # [K, N] bool
    candidates: Tensor  # [K, N] int64, the positive included


class HorizonCurve(NamedTuple):
    """Means over the pairs of each horizon, [K] each; NaN where there is none."""

    loss: Tensor  # nats
    accuracy: Tensor
    chance: Tensor  # accuracy of a guess, 1 / N
    bound: Tensor  # nats: I(z[t + k]; c[t]) is at least this
    cap: Tensor  # nats, ln N: the most that ``bound`` can show
    pairs: Tensor  # how many


@torch.no_grad()
def curve(contrast: Contrast) -> HorizonCurve:
    """Diagnostics by horizon."""
    value, mask, correct, candidates = contrast
    pairs = mask.sum(-1)

    def mean(x: Tensor) -> Tensor:
        return torch.where(mask, x, 0.0).sum(-1) / pairs

    bound = mutual_information_bound(value, candidates)
    return HorizonCurve(
        mean(value), mean(correct.float()), mean(1 / candidates), mean(bound), mean(bound + value), pairs
    )  # fmt: skip


class CPC(nn.Module):
    """From contexts ``c[t]`` [D], tell the later ``z[t + k]`` [E] from other rows, for each k of ``horizons``, in
    steps.

    At most ``queries`` rows t are drawn, the same for all horizons, and at most ``negatives`` candidates beside the
    positive; None: all. Candidates may be of any episode; a pair is of one. With ``actions`` (how many there are) a
    prediction knows the actions between t and t + k.

    ``apart``: ``queries`` is the number of pairs in all, shared out among the horizons that the sequences are long
    enough for. Each draws rows of its own, of those that have a pair there: for the same work more rows, none in vain.
    """

    steps: Tensor

    def __init__(
        self, context: int, target: int, horizons: Sequence[int], *, source: Source = "batch",
        queries: int | None = 256, negatives: int | None = 256, actions: int = 0, apart: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if not horizons or any(k < 1 or k % 1 for k in horizons):
            raise ValueError(f"horizons are steps ahead, 1 or more, whole numbers, not {list(horizons)}")
        if source not in get_args(Source):
            raise ValueError(f"source is {source!r}, not one of {', '.join(get_args(Source))}")
        for name, count in (("queries", queries), ("negatives", negatives)):
            if count is not None and count < 1:
                raise ValueError(f"{name} are 1 or more, or None for all, not {count}")
        if actions and apart:
            raise ValueError("actions are unrolled once a row, so horizons that know them share their rows")
        self.source, self.queries, self.negatives, self.apart = source, queries, negatives, apart
        self.horizons = tuple(int(k) for k in horizons)
        self.register_buffer("steps", torch.tensor(self.horizons), persistent=False)
        self.head = ContrastiveHead(context, target, len(horizons))
        self.actions = ActionContext(context, actions) if actions else None

    def forward(
        self, z: Tensor, c: Tensor, first: Tensor, valid: Tensor | None = None, *,
        action: Tensor | None = None, generator: torch.Generator | None = None,
    ) -> Contrast:  # fmt: skip
        """Targets z [T, B, E], contexts c [T, B, D], ``first`` [T, B] bool; ``valid`` [T, B] bool, False for rows that
        are not there (None: all are); ``action`` [T - 1, B] int64 -> [K, N] each. Rows that are not there may be NaN,
        and so may contexts without a pair.

        ``generator``, on the device of z, is needed where there is more than is to be drawn. ValueError for rows that
        are not those of ``first``.
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
        # The positive's score and those of the negatives are computed in different ways and rounded apart, by which
        # equal rows could be told from each other where scores are large. What all z have in common changes no softmax:
        # without it scores are as small as z's differences.
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
            masks.append((free & (target != rows)).movedim(0, -1))  # the positive is there already
        mask = torch.cat(masks, dim=-1)
        value, correct = info_nce(torch.cat(scores, dim=-1), torch.zeros_like(target), mask)
        candidates = mask.sum(-1)
        found = value, there & (candidates > 1), correct, candidates
        return Contrast(*(F.pad(x, (0, 0, 0, len(self.horizons) - K)) for x in found))

    def _queries(self, pairs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Rows [K, N], or [1, N] if all horizons share them, of those with a pair in ``pairs`` [K, T B]."""
        if not self.apart:
            return draw(pairs.any(0), self.queries, generator).unsqueeze(0)
        share = None if self.queries is None else math.ceil(self.queries / len(pairs))
        return draw(pairs.T, share, generator).T

    def _contexts(self, c: Tensor, query: Tensor, action: Tensor | None, K: int) -> Tensor:
        """Contexts of the queries: [K or 1, N, D], or with actions [K, N, D]."""
        if self.actions is None or action is None:
            return rows_of(c, query)
        unrolled: Tensor = self.actions(rows_of(c, query[0]), next_actions(action, query[0], max(self.horizons[:K])))
        return unrolled[self.steps[:K] - 1]

    def _negatives(
        self, query: Tensor, valid: Tensor, generator: torch.Generator | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Rows and which may be used, [M, K or 1, N], or [M, 1, 1] if all queries share them."""
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
