"""Trees of tensors: states of memory modules and environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = Any
"""A tree (tensor, tuple, dict) of batch-first, fixed-shape tensors; ``()`` for a module without state."""


def tree_map(function: Callable[..., Tensor], tree: State, *others: State) -> State:
    """Apply ``function`` to every tensor of a State, together with the corresponding tensors of ``others``."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, dict):
        return {k: tree_map(function, v, *(o[k] for o in others)) for k, v in tree.items()}
    leaves = (tree_map(function, *group) for group in zip(tree, *others, strict=True))
    return type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves)


def reset_state(state: State, first: Tensor, initial: State) -> State:
    """Return ``state`` with the rows where ``first`` [B] is True replaced by ``initial``."""
    return tree_map(lambda s, i: torch.where(first.view(-1, *[1] * (s.dim() - 1)), i, s), state, initial)
