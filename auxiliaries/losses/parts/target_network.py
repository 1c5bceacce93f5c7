"""What losses share that look at frames themselves: flat features, copies that follow slowly."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from ....backbones import Sizes
from ....backbones.encoder import Encoder

Module = TypeVar("Module", bound=nn.Module)


def width(sizes: Sizes) -> int:
    """F, of what ``flat`` gives."""
    return sizes.vector if sizes.map is None else math.prod(sizes.map)


def flat(encoder: Encoder, observation: dict[str, Tensor], there: Tensor) -> Tensor:
    """[T, B, ...] -> [T, B, F] float32: the map, flattened, where the encoder has one, else its vector. Columns outside
    ``there`` [B] bool may hold anything: zeros are looked at instead.
    """
    rows = {k: torch.where(there.view(-1, *[1] * (x.dim() - 2)), x, 0) for k, x in observation.items()}
    maps, vector = encoder(rows)
    features: Tensor = (vector if maps is None else maps).float()  # under autocast a map is bfloat16
    return features.reshape(*vector.shape[:2], -1)


def frozen(module: Module) -> Module:
    """A copy that no optimiser moves."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, share: float) -> None:
    """target <- (1 - share) target + share online, of every weight."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), share)
