"""Contrastive predictive coding on the agent's own encoder and memory (van den Oord et al. 2018, section 3.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from msgspec import Meta
from torch import Tensor

from ...backbones import Features, Sizes
from ...backbones.contrastive import CPC, Source, curve, usable_horizons
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig
from ..generators import Draws
from ..pooling import Mean


@dataclass(frozen=True)
class CPCConfig(LossConfig):
    """Contrastive predictive coding. The paper gives no weight; start with 0.1."""

    horizons: Annotated[int, Meta(ge=1, le=4096)] = 30
    """Largest number of steps ahead to predict, starting from 1;
    those longer than the unroll are left out."""
    queries: Annotated[int, Meta(ge=1, le=2**20)] = 512
    """Number of predictions sampled per rollout, divided evenly among the horizons; the cost is proportional."""
    negatives: Annotated[int, Meta(ge=1, le=2**20)] = 256
    """Maximum number of negatives per prediction; the information bound cannot exceed ln(negatives + 1) nats."""
    source: Source = "batch"
    """Source of negatives: batch (any row of the rollout), others (other environments),
    sequence (the same environment) or both (half from each)."""

    def fitted(self, unroll: int) -> Self:
        """Remove horizons longer than the unroll: their maps would receive updates without ever learning."""
        return replace(self, horizons=min(self.horizons, unroll))


class CPCLoss(AuxiliaryLoss):
    """``-ln f_k(z[t + k], c[t]) / sum_j f_k(z[j], c[t])`` with ``ln f_k(z, c) = z^T W_k c`` (equation 4): z is the
    encoder's output for an observation, c the memory's output. Only the W_k are added, so everything learnt has to be
    in z and c.

    Each horizon samples its own rows. With negatives from the same environment, which are looked up row by row,
    horizons share rows, and those near the end of an unroll or episode have fewer predictions to make.
    """

    Config = CPCConfig
    paper = "predicts which observation comes k steps later, linearly (CPC, van den Oord et al. 2018, section 3.4)"

    def __init__(self, config: CPCConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        if min(config.horizons, config.queries, config.negatives) < 1:
            raise ValueError(
                "CPC needs a horizon, a query and a negative at least, "
                f"not {config.horizons}, {config.queries} and {config.negatives}."
            )
        apart = config.source in ("batch", "others")
        self.cpc = CPC(
            sizes.memory,
            sizes.vector,
            range(1, config.horizons + 1),
            source=config.source,
            negatives=config.negatives,
            queries=config.queries if apart else math.ceil(config.queries / config.horizons),
            apart=apart,
        )
        self.environments = 2 if config.source == "others" else 1
        self.draws = Draws()

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [K, N] in nats, by horizon and query."""
        z, c = features.vector, features.memory
        contrast = self.cpc(z, c, rollout.first, generator=self.draws.on(z.device))
        shown = curve(contrast)
        pairs = shown.pairs
        totals = {k: torch.where(pairs > 0, x * pairs, 0.0) for k, x in shown._asdict().items()}
        K = usable_horizons(self.cpc.horizons, len(z))  # longer horizons have no data
        self.metrics = {k: Mean.of(totals[k].sum(), pairs.sum()) for k in ("accuracy", "chance", "bound", "cap")}
        self.metrics |= {f"{k}_by_horizon": Mean.of(totals[k][:K], pairs[:K]) for k in ("loss", "accuracy")}
        return contrast.value, contrast.mask
