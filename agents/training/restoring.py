"""Checks that the contents of a checkpoint match the state they are to replace, before any state is restored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..optim import Adam, RMSProp


def refuse_other_kind(saved: Any, fresh: Any, where: str = "its state") -> None:
    """Raise ValueError, naming the place, unless ``saved`` is a tree like ``fresh``: dicts with at least the same keys,
    tensors of the same shapes and types, counts that are not negative. Parts where ``fresh`` is None or empty are not
    compared.
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
    (Adam, {"mean", "mean_square", "updates"}, True),
)
"""Entries of an optimiser's state per parameter, and whether they exist before the first update."""


def refuse_odd_slots(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Raise ValueError if an optimiser's state of a parameter has entries that are neither scalars nor of the
    parameter's shape, or if entries are missing.
    """
    for optimizer in optimizers:
        for parameter, slots in optimizer.state.items():
            for name, slot in slots.items():
                size = slot.shape if isinstance(slot, Tensor) else () if isinstance(slot, int | float) else None
                if size not in ((), parameter.shape) or (isinstance(slot, int) and slot < 0):
                    raise ValueError(f"an optimiser's {name} does not match its parameter")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for kind, parts, from_the_start in SLOTS:
            memories = [optimizer.state.get(p, {}) for p in parameters] if isinstance(optimizer, kind) else []
            if any(not parts <= slots.keys() for slots in memories if slots or from_the_start):
                raise ValueError("an optimiser's memory lacks a part")
