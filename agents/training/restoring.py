"""Whether what a checkpoint holds is built as what it is to replace: checked before anything takes it over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..optim import RMSProp


def refuse_other_kind(saved: Any, fresh: Any, where: str = "its state") -> None:
    """ValueError, saying where, unless ``saved`` is a tree like ``fresh``: dicts with the same keys, or more, tensors
    of the same shapes and types, counts that are not negative. Where ``fresh`` has None or nothing in it there is
    nothing to compare with.
    """
    if isinstance(fresh, Mapping) and isinstance(saved, Mapping) and saved.keys() >= fresh.keys():
        for key, value in fresh.items():
            refuse_other_kind(saved[key], value, f"{where}/{key}")
    elif isinstance(fresh, tuple | list) and isinstance(saved, tuple | list) and len(fresh) in (0, len(saved)):
        for i, (theirs, ours) in enumerate(zip(saved, fresh, strict=False)):
            refuse_other_kind(theirs, ours, f"{where}/{i}")
    elif fresh is not None and not _is_like(saved, fresh):
        raise ValueError(f"{where} is not what this version writes there")


def _is_like(saved: Any, fresh: Any) -> bool:
    if isinstance(fresh, Tensor):
        return isinstance(saved, Tensor) and saved.shape == fresh.shape and saved.dtype == fresh.dtype
    if isinstance(saved, bool) or isinstance(fresh, bool | str):
        return type(saved) is type(fresh)
    if isinstance(fresh, int):
        return isinstance(saved, int) and 0 <= saved < 2**63
    return isinstance(fresh, float) and isinstance(saved, int | float) and math.isfinite(saved)


SLOTS = (
    (torch.optim.Adam, {"step", "exp_avg", "exp_avg_sq"}, False),
    (RMSProp, {"mean_square", "updates"}, True),
)
"""What an optimiser remembers of a parameter, and whether it does before the first update."""


def refuse_odd_slots(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """ValueError for an optimiser whose memory of a parameter is neither counts nor of the parameter's shape."""
    for optimizer in optimizers:
        for parameter, slots in optimizer.state.items():
            for name, slot in slots.items():
                size = slot.shape if isinstance(slot, Tensor) else () if isinstance(slot, int | float) else None
                if size not in ((), parameter.shape):
                    raise ValueError(f"an optimiser's {name} is of no parameter here")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for kind, parts, from_the_start in SLOTS:
            memories = [optimizer.state.get(p, {}) for p in parameters] if isinstance(optimizer, kind) else []
            if any(not parts <= slots.keys() for slots in memories if slots or from_the_start):
                raise ValueError("an optimiser's memory lacks a part")
