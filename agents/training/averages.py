"""Averages of update metrics since the last record, accumulated on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from ...auxiliaries.pooling import KINDS, Metric, Pooled, over_updates


class Averages:
    """Metrics of updates, pooled. Plain tensors are averaged over updates; NaN in one update makes the average NaN."""

    def __init__(self) -> None:
        self.pooled: dict[str, Pooled] = {}

    def add(self, metrics: Mapping[str, Metric]) -> None:
        """Add the metrics of one update. The host reads nothing."""
        for name, metric in metrics.items():
            new = metric if isinstance(metric, Pooled) else over_updates(metric)
            self.pooled[name] = self.pooled[name] + new if name in self.pooled else new

    def drain(self) -> dict[str, float]:
        """Return the averages by name, the points of a curve from "NAME/1" on, without NaN; then start again. The host
        waits here.
        """
        values = {name: pooled.value for name, pooled in self.pooled.items()}
        self.pooled = {}
        if not values:
            return {}
        names = [f"{k}/{i + 1}" if v.dim() else k for k, v in values.items() for i in range(v.numel())]
        found = torch.cat([v.flatten() for v in values.values()]).tolist()
        return {name: x for name, x in zip(names, found, strict=True) if not math.isnan(x)}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and the kind of each."""
        return {name: {"kind": type(p).__name__, "sums": p.sums} for name, p in self.pooled.items()}

    def load_state_dict(self, state: Mapping[str, Any], device: str | torch.device) -> None:
        """Continue from ``state_dict``."""
        self.pooled = {name: KINDS[s["kind"]](s["sums"].to(device)) for name, s in state.items()}
