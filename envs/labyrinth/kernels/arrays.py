"""`World` and `Tables` as Warp kernels see them: structs of arrays over the same memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
import warp as wp
from torch import Tensor


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

_WARP_TYPES = {
    torch.float32: wp.float32,
    torch.int32: wp.int32,
    torch.int64: wp.int64,
    torch.uint8: wp.uint8,
    torch.bool: wp.bool,
}


if TYPE_CHECKING:
    Floats: TypeAlias = Any
    Floats2: TypeAlias = Any
    Floats3: TypeAlias = Any
    Ints: TypeAlias = Any
    Ints2: TypeAlias = Any
    Longs: TypeAlias = Any
    Bools: TypeAlias = Any
    Bytes2: TypeAlias = Any
    Bytes4: TypeAlias = Any
else:  # Warp reads these from annotations; the number is that of dimensions
    Floats, Floats2, Floats3 = (wp.array(dtype=wp.float32, ndim=n) for n in (1, 2, 3))
    Ints, Ints2 = (wp.array(dtype=wp.int32, ndim=n) for n in (1, 2))
    Longs = wp.array(dtype=wp.int64)
    Bools = wp.array(dtype=wp.bool)
    Bytes2, Bytes4 = (wp.array(dtype=wp.uint8, ndim=n) for n in (2, 4))


@wp.struct
class Worlds:
    """`world.World`, field for field."""

    position: Floats2
    velocity: Floats2
    heading: Floats
    walls: Bytes4
    item_position: Floats3
    item_kind: Bytes2
    home_kind: Bytes2
    goal_cell: Ints
    goal_distance: Ints2
    spawn_cell: Ints2
    object_cell: Ints2
    tick: Ints
    restarts: Ints
    reward: Floats
    discount: Floats
    first: Bools
    last: Bools
    episode: Longs
    draw: Ints
    seed: Longs
    env_index: Longs
    task: Longs


@wp.struct
class Levels:
    """`world.Tables`, field for field."""

    cell_size: Floats
    height: Ints
    width: Ints
    walls: Bytes4
    visit_size: Floats
    tick_seconds: Floats
    radius: Floats
    speed: Floats
    friction: Floats
    acceleration: Floats
    stop_speed: Floats
    actions: Floats3
    max_ticks: Ints
    tick_reward: Floats
    restart_when_cleared: Ints
    start: Ints
    starts: Floats3
    num_starts: Ints
    exit: Floats2
    start_distance: Ints
    goal: Ints
    goal_kind: Ints
    apple_share: Floats
    item_position: Floats3
    item_kind: Bytes2
    rooms: Ints
    room_min: Ints
    room_max: Ints
    extra_connections: Floats
    room_starts: Ints
    room_objects: Ints
    wall_texture: Ints
    decal_share: Floats
    first_decal: Ints
    num_decals: Ints


def view(tensor: Tensor) -> Any:
    """A Warp array over the memory of a contiguous tensor. The tensor must outlive it: nothing is kept alive."""
    if not tensor.is_contiguous():
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} written by kernels must be contiguous")
    return wp.array(
        ptr=tensor.data_ptr(),
        dtype=_WARP_TYPES[tensor.dtype],
        shape=tuple(tensor.shape),
        device=wp.device_from_torch(tensor.device),
    )


def view_all(struct: Any, tensors: NamedTuple, part: slice = slice(None)) -> Any:
    """``struct`` (`Worlds` or `Levels`) filled with views of rows ``part`` of ``tensors``."""
    views = struct()
    for name, tensor in zip(tensors._fields, tensors, strict=True):
        setattr(views, name, view(tensor[part]))
    return views
