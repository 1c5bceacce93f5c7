"""Errors early and in one sentence, where what is given would be taken for something else."""

from __future__ import annotations

from torch import Tensor


def check_shape(name: str, x: Tensor, *shape: int | str) -> None:
    """ValueError unless ``x`` is of this shape, in which a word stands for any number."""
    if x.dim() != len(shape) or any(n != m for n, m in zip(shape, x.shape, strict=True) if isinstance(n, int)):
        raise ValueError(f"{name} is [{', '.join(map(str, shape))}], not {list(x.shape)}")


def check_levels(levels: int) -> None:
    """ValueError for so few levels of a pixel that no two can be told apart."""
    if levels < 2:
        raise ValueError(f"a pixel has at least 2 levels, not {levels}")


def check_temperature(temperature: float) -> None:
    """ValueError for less than 0, and for NaN."""
    if not temperature >= 0:
        raise ValueError(f"a temperature is 0 or more, not {temperature}")
