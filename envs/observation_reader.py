"""Conversion of Gymnasium spaces: finds the image and vector parts of observations, and names the actions."""

from __future__ import annotations

from enum import EnumType
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.spaces import utils
from numpy.typing import NDArray

from .errors import UserError


class Reader:
    """Writes observations of one Gymnasium space into rows of "image" uint8 [H, W, C] and "vector" float32 [V].

    The only image is a uint8 Box of two or three axes; channels are the last axis, or the first where that is the
    shorter one, and are moved last. All other parts of fixed size are flattened and concatenated to the vector in the
    order of the space (a Discrete is one-hot). Text is omitted. UserError, naming the part, for any other part.
    """

    def __init__(self, space: spaces.Space[Any], name: str) -> None:
        self.name = name
        self.images: list[tuple[tuple[Any, ...], spaces.Space[Any]]] = []
        self.vectors: list[tuple[tuple[Any, ...], spaces.Space[Any]]] = []
        self._bounds: list[tuple[NDArray[Any], NDArray[Any]] | None] = []  # one entry per vector
        self._sort((), space)
        if len(self.images) > 1:
            parts = " and ".join(_path(path) for path, _ in self.images)
            raise UserError(f"{name} shows several images ({parts}); remove all but one with a wrapper")
        if not self.images and not sum(utils.flatdim(part) for _, part in self.vectors):
            raise UserError(f"{name} has no observation that a network can read ({one_line(space)})")
        self.observation: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        if self.images:
            shape = self.images[0][1].shape
            assert shape is not None
            self.observation["image"] = _channels_last(np.empty(shape, np.uint8)).shape, torch.uint8
        if self.vectors:
            self.observation["vector"] = (sum(utils.flatdim(part) for _, part in self.vectors),), torch.float32

    def _sort(self, path: tuple[Any, ...], space: spaces.Space[Any]) -> None:
        if isinstance(space, spaces.Dict):
            for key, part in space.spaces.items():
                self._sort((*path, key), part)
        elif isinstance(space, spaces.Tuple):
            for index, part in enumerate(space.spaces):
                self._sort((*path, index), part)
        elif isinstance(space, spaces.Text) or space.dtype == np.dtype(str):
            pass  # MiniGrid's missions have their own space class
        elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3):
            self.images.append((path, space))
        elif isinstance(space, spaces.Box) and len(space.shape) > 2:
            raise UserError(
                f"{self.name} shows {_path(path)} as {space.dtype} {list(space.shape)}; images are uint8 of two or "
                "three axes here, from 0 to 255: convert it with a wrapper"
            )
        elif _flattens(space):
            self.vectors.append((path, space))
            self._bounds.append(_bounds(space) if isinstance(space, spaces.Box) else None)
        else:
            raise UserError(f"{self.name} shows {_path(path)} as {type(space).__name__}, which has no fixed size")

    def write(self, observation: Any, rows: dict[str, NDArray[Any]]) -> str | None:
        """Write into ``rows`` ("image", "vector"), all or nothing. ValueError, naming the part, for values outside the
        space.

        Finite numbers beyond the bounds of their Box are written nevertheless, and the part is named in the return
        value: many environments exceed their bounds, and networks do not depend on them.
        """
        images = [_channels_last(_part(observation, path, space)) for path, space in self.images]
        vectors, beyond = [], None
        for (path, space), bounds in zip(self.vectors, self._bounds, strict=True):
            vector = _flat(_part(observation, path, space), space)
            if bounds is not None and not ((bounds[0] <= vector) & (vector <= bounds[1])).all():
                if not np.isfinite(vector).all():
                    raise ValueError(f"{_path(path)} is not finite in float32")
                beyond = f"{_path(path)} is beyond the bounds of {one_line(space)}"
            vectors.append(vector)
        if images:
            rows["image"][...] = images[0]
        if vectors:
            rows["vector"][...] = vectors[0] if len(vectors) == 1 else np.concatenate(vectors)
        return beyond


def _part(observation: Any, path: tuple[Any, ...], space: spaces.Space[Any]) -> Any:
    """Return the part of an observation at ``path``, validated; an array where ``space`` is a Box."""
    part = observation
    for key in path:
        try:
            part = part[key]
        except (KeyError, IndexError, TypeError):
            raise ValueError(f"{_path(path)} is missing") from None
    if isinstance(space, spaces.Box):
        array = np.asarray(part)
        if array.shape != space.shape:
            raise ValueError(f"{_path(path)} has shape {list(array.shape)}, not {list(space.shape)}")
        # Fast path for equal types: this runs at every step of every environment.
        if array.dtype != space.dtype:
            if not np.can_cast(array.dtype, space.dtype, "same_kind"):
                raise ValueError(f"{_path(path)} is {array.dtype}, not {space.dtype}")
            if space.dtype.kind in "iu" and not _holds(space.dtype, array):  # a cast would wrap around
                raise ValueError(f"{_path(path)} is {array.min()} to {array.max()}, which {space.dtype} cannot hold")
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):  # values beyond float32 become infinite
                array = array.astype(np.float32, copy=False)
        return array
    if not space.contains(part):
        raise ValueError(f"{_path(path)} is {part!r}, which is not in {space}")
    return part


def _holds(dtype: np.dtype[Any], array: NDArray[Any]) -> bool:
    limits = np.iinfo(dtype)
    return not array.size or (limits.min <= int(array.min()) and int(array.max()) <= limits.max)


def _bounds(space: spaces.Box) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the bounds of a Box, flattened; finite float32 for floats, so that NaN and infinity are out of bounds."""
    if space.dtype.kind != "f":
        return space.low.ravel(), space.high.ravel()
    most = np.finfo(np.float32).max
    low, high = (np.clip(np.ravel(x).astype(np.float64), -most, most) for x in (space.low, space.high))
    return low.astype(np.float32), high.astype(np.float32)


def _flat(part: Any, space: spaces.Space[Any]) -> NDArray[Any]:
    """Return a part flattened to one axis. Gymnasium's own ``flatten`` dispatches on the type of space at each call."""
    return part.ravel() if isinstance(space, spaces.Box) else np.asarray(utils.flatten(space, part))


def actions(space: spaces.Space[Any], env: Any, name: str) -> tuple[int, tuple[str, ...]]:
    """Return the number of the first action and the names of all actions. UserError unless the space is Discrete."""
    if not isinstance(space, spaces.Discrete):
        raise UserError(f"{name} takes {one_line(space)} as actions; only Discrete actions are supported")
    unwrapped = env.unwrapped
    named = getattr(unwrapped, "actions", None)
    if hasattr(unwrapped, "get_action_meanings"):
        names = [str(x).lower() for x in unwrapped.get_action_meanings()]
    else:  # MiniGrid and MiniWorld have an Enum of this name; some environments use only its first members
        names = list(named.__members__)[: int(space.n)] if isinstance(named, EnumType) else []
    n = int(space.n)
    return int(space.start), tuple(names) if len(names) == n else tuple(f"action {k}" for k in range(n))


def _channels_last(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return [H, W], [C, H, W] or [H, W, C] as a view [H, W, C]."""
    if image.ndim == 2:
        return image[..., None]
    first = image.shape[0] < min(image.shape[1:]) and not (image.shape[0] == 1 and image.shape[-1] in (3, 4))
    return np.moveaxis(image, 0, -1) if first else image


def _path(path: tuple[Any, ...]) -> str:
    return "its observation" if not path else "observation " + "/".join(map(repr, path))


def _flattens(space: spaces.Space[Any]) -> bool:
    try:
        return bool(space.is_np_flattenable)
    except NotImplementedError:  # custom space classes
        return False


def one_line(what: object) -> str:
    """Return ``what`` as text without line breaks, of at most 300 characters."""
    try:
        text = " ".join(str(what).split())
    except Exception:  # custom classes may raise anything
        text = f"a {type(what).__name__} that cannot be printed"
    return text if len(text) <= 300 else f"{text[:300]} ..."
