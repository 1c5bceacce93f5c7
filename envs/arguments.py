"""Validation of arguments to environments: unambiguous values are converted, all others are refused with a one-sentence
error before any state changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import UserError


def as_tensor(value: Any, wanted: str) -> Tensor:
    """Return ``value`` as a tensor: arrays and lists are copied. UserError, naming ``wanted``, for any other type."""
    if isinstance(value, Tensor):
        return value
    try:
        return torch.tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UserError(f"{wanted}, not a {type(value).__name__} like {str(value)[:60]!r}") from None


def as_action(action: Any, num_envs: int, num_actions: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``action`` as int64 [B] on ``device``. UserError unless it holds one whole number in [0, num_actions) per
    environment; the range is checked only on the CPU, since checking it on another device would synchronise.
    """
    wanted = f"actions are integers [{num_envs}], one for each environment"
    numbers = as_tensor(action, wanted)
    kind = numbers.dtype
    if numbers.shape != (num_envs,) or kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise UserError(f"{wanted}, not {kind} of shape {list(numbers.shape)}")
    if numbers.device.type == "cpu" and not 0 <= int(numbers.min()) <= int(numbers.max()) < num_actions:
        raise UserError(f"actions must lie in [0, {num_actions}), got {numbers.tolist()}")
    return numbers.to(device, torch.int64)


def as_mask(mask: Any, num_envs: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ``mask`` as bool [B] on ``device``, all True if it is None. UserError for anything else."""
    if mask is None:
        return torch.ones(num_envs, dtype=torch.bool, device=device)
    wanted = f"a mask is {torch.bool} [{num_envs}], one for each environment"
    which = as_tensor(mask, wanted)
    if which.shape != (num_envs,) or which.dtype != torch.bool:
        raise UserError(f"{wanted}, not {which.dtype} of shape {list(which.shape)}")
    return which.to(device)


def chosen(mask: Any, num_envs: int) -> list[int]:
    """Return the indices where ``mask`` is True; all of them if it is None. UserError unless it is bool [B]."""
    if mask is None:
        return list(range(num_envs))
    numbers: list[int] = as_mask(mask, num_envs).nonzero().flatten().tolist()
    return numbers
