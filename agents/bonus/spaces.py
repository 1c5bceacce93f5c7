"""Descriptions of Gymnasium's spaces as a `Spec`."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch

from ...envs.errors import UserError
from ...envs.experience import Spec


def spec_of(observation_space: Any, action_space: Any, stacked: int = 1) -> Spec:
    """Describe the spaces of one environment: images of bytes [H, W, C] of so many ``stacked`` frames, or vectors, and
    discrete actions from 0. UserError for others.
    """
    count = getattr(action_space, "n", None)
    if count is None or getattr(action_space, "shape", None) != () or getattr(action_space, "start", 0) != 0:
        raise UserError(f"intrinsic rewards need discrete actions from 0 on, and the action space is {action_space}")
    shape, dtype = getattr(observation_space, "shape", None), getattr(observation_space, "dtype", None)
    if shape is not None and len(shape) == 3 and dtype == np.uint8:
        channels = shape[-1]
        if shape[0] <= 4 < min(shape[1:]):
            raise UserError(f"images have to be [height, width, channels], and those here are {list(shape)}")
        if not isinstance(stacked, Integral) or stacked < 1 or channels % stacked:
            raise UserError(f"stacked has to divide the {channels} channels of an image, and is {stacked!r}")
        seen = {"image": (tuple(shape), torch.uint8)}
    elif shape is not None and len(shape) == 1 and shape[0]:
        seen = {"vector": (tuple(shape), torch.float32)}
    else:
        raise UserError(f"observations have to be images of bytes or vectors, and their space is {observation_space}")
    return Spec(seen, int(count), tuple(str(i) for i in range(int(count))), ("task",), 1, None, False, stacked)
