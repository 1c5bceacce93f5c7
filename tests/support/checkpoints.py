"""What tests of checkpoints share: trees, and whether two are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from morello.agents.storage import checkpoint

FILES = ("tensors.safetensors", "tree.json", "manifest.json")


def bits(x: torch.Tensor) -> bytes:
    return x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, and of the same types (a NamedTuple counts as a tuple)."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and (a.dtype, a.shape) == (b.dtype, b.shape) and bits(a) == bits(b)
    if isinstance(a, dict):
        return (
            isinstance(b, dict)
            and [(type(k), k) for k in a] == [(type(k), k) for k in b]
            and all(same(a[k], b[k]) for k in a)
        )
    if isinstance(a, list | tuple):
        kind = list if isinstance(a, list) else tuple
        return type(b) is kind and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)  # tells -0.0 from 0.0, and nan is nan


def tree(value: float) -> dict[str, Any]:
    """Something to save that can be told apart by ``value``."""
    return {"weights": torch.arange(1, 8) * value, "step": {3: torch.tensor(value)}, "name": f"{value}"}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Good checkpoints of steps 100 and 200."""
    for step in (100, 200):
        checkpoint.save(tmp_path, step, tree(step), keep=2)
    return tmp_path
