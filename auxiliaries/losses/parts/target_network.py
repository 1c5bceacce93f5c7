"""Components of losses that apply the encoder themselves: flat features, and copies that follow slowly."""

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
    """Return F, the width of the output of ``flat``."""
    return sizes.vector if sizes.map is None else math.prod(sizes.map)


def flat(encoder: Encoder, observation: dict[str, Tensor], there: Tensor) -> Tensor:
    """Encode observations: [T, B, ...] -> [T, B, F] float32, the map, flattened, if the encoder has one, otherwise its
    vector. Columns outside ``there`` [B] bool may hold anything: zeros are encoded instead.
    """
    rows = {k: torch.where(there.view(-1, *[1] * (x.dim() - 2)), x, 0) for k, x in observation.items()}
    maps, vector = encoder(rows)
    features: Tensor = (vector if maps is None else maps).float()  # under autocast a map is bfloat16
    return features.reshape(*vector.shape[:2], -1)


def frozen(module: Module) -> Module:
    """Return a copy that no optimiser updates."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, share: float) -> None:
    """Update every weight: target <- (1 - share) target + share online."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), share)
