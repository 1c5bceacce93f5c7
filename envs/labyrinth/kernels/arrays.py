"""`World` and `Tables` as Warp kernels see them: structs `Worlds` and `Levels` of arrays over the same memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
import warp as wp
from torch import Tensor

from ..world import Tables, World, declared


@contextlib.contextmanager
def _silence_native() -> Iterator[None]:
    """Keep native code from writing to standard error: Warp announces a missing CUDA driver there."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


if hasattr(wp.config, "log_level"):
    wp.config.log_level = wp.LOG_WARNING
else:
    wp.config.quiet = True
with contextlib.nullcontext() if torch.cuda.is_available() else _silence_native():
    wp.init()


def _struct(name: str, tensors: type[World] | type[Tables]) -> Any:
    """Make the Warp struct that holds an array for every field of ``tensors``."""
    fields = declared(tensors).items()
    arrays = {key: wp.array(dtype=getattr(wp, field.dtype), ndim=1 + len(field.shape)) for key, field in fields}
    return wp.struct(type(name, (), {"__module__": __name__, "__annotations__": arrays}))


if TYPE_CHECKING:
    Worlds: TypeAlias = World
    Levels: TypeAlias = Tables
    Floats: TypeAlias = Any
    Floats2: TypeAlias = Any
    Ints2: TypeAlias = Any
    Longs: TypeAlias = Any
    Bools: TypeAlias = Any
else:  # Warp reads these from annotations; the number is that of dimensions
    Worlds, Levels = _struct("Worlds", World), _struct("Levels", Tables)
    Floats, Floats2 = (wp.array(dtype=wp.float32, ndim=n) for n in (1, 2))
    Ints2 = wp.array(dtype=wp.int32, ndim=2)
    Longs = wp.array(dtype=wp.int64)
    Bools = wp.array(dtype=wp.bool)


def view(tensor: Tensor) -> Any:
    """Make a Warp array over the memory of a contiguous tensor. The tensor must outlive it: nothing is kept alive."""
    if not tensor.is_contiguous():
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} written by kernels must be contiguous")
    return wp.array(
        ptr=tensor.data_ptr(),
        dtype=wp.dtype_from_torch(tensor.dtype),
        shape=tuple(tensor.shape),
        device=wp.device_from_torch(tensor.device),
    )


def view_all(struct: Any, tensors: NamedTuple, part: slice = slice(None)) -> Any:
    """Fill a ``struct`` (`Worlds` or `Levels`) with views of rows ``part`` of ``tensors``."""
    views = struct()
    for name, tensor in zip(tensors._fields, tensors, strict=True):
        setattr(views, name, view(tensor[part]))
    return views
