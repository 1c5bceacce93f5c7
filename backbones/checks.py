"""Checks of arguments: errors in one sentence instead of a silent misinterpretation."""

from __future__ import annotations

from torch import Tensor


def check_shape(name: str, x: Tensor, *shape: int | str) -> None:
    """Raise ValueError unless ``x`` has this shape, in which a word stands for any number."""
    if x.dim() != len(shape) or any(n != m for n, m in zip(shape, x.shape, strict=True) if isinstance(n, int)):
        raise ValueError(f"{name} is [{', '.join(map(str, shape))}], not {list(x.shape)}")


def check_levels(levels: int) -> None:
    """Raise ValueError for fewer than two levels of a pixel."""
    if levels < 2:
        raise ValueError(f"a pixel has at least 2 levels, not {levels}")


def check_temperature(temperature: float) -> None:
    """Raise ValueError for a temperature below 0, and for NaN."""
    if not temperature >= 0:
        raise ValueError(f"a temperature is 0 or more, not {temperature}")
