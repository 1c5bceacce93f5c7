"""Input reconstruction (Jaderberg et al. 2017, UNREAL's baseline): reconstruct the current image from the memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones import Features, Sizes
from ...envs.experience import Rollout, Spec
from ..base import AuxiliaryLoss, LossConfig, image_shape
from .parts.cells import newest_channels


def convolved(side: int, kernel: int, stride: int) -> int:
    """Return the output size of a convolution without padding over an input of size ``side``."""
    return (side - kernel) // stride + 1


class PixelDecoder(nn.Module):
    """A3C's convolutions in reverse: linear and ReLU to 32 maps, transposed 4x4/2 to 16 and ReLU, transposed 8x8/4 to
    ``shape`` = (H, W, C).

    At most 3 rows or columns at the lower and right edge, which the convolutions do not cover, receive only the bias:
    none for 84x84. ValueError for frames that are too small.
    """

    def __init__(self, inputs: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        height, width, channels = shape
        if min(height, width) < 20:
            raise ValueError(
                f"frames of {height}x{width} are too small to be reconstructed, they are smaller than the filters: "
                "use a --frame-size of 20 or more."
            )
        self.size = (height, width)
        self.middle = (convolved(height, 8, 4), convolved(width, 8, 4))
        self.small = (32, convolved(self.middle[0], 4, 2), convolved(self.middle[1], 4, 2))
        self.linear = nn.Linear(inputs, math.prod(self.small))
        self.first = nn.ConvTranspose2d(32, 16, 4, stride=2)
        self.second = nn.ConvTranspose2d(16, channels, 8, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        """Decode vectors: [N, D] -> [N, H, W, C]."""
        # Channels last, as in the torsos.
        y = F.relu(self.linear(x)).reshape(-1, *self.small).contiguous(memory_format=torch.channels_last)
        y = F.relu(self.first(y, output_size=self.middle))
        image: Tensor = self.second(y, output_size=self.size)
        return image.permute(0, 2, 3, 1)


@dataclass(frozen=True)
class ReconstructionConfig(LossConfig):
    """Input reconstruction. The loss is a mean over pixels: multiply a weight meant for their sum by H x W x C."""

    channels: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Number of last image channels to reconstruct. If not given: those of the newest stacked frame."""


class Reconstruction(AuxiliaryLoss):
    """Predicts the image in [0, 1] from the memory's output at the same row: squared error, a mean over pixels and
    channels. Every row counts, including first and last ones. ValueError without images, or if they are too small.
    """

    Config = ReconstructionConfig
    paper = "reconstructs the current image from memory: UNREAL's baseline (Jaderberg et al. 2017)"

    def __init__(self, config: ReconstructionConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        height, width, _ = image_shape(spec, "reconstruction")
        self.channels = newest_channels(config.channels, spec)
        self.decoder = PixelDecoder(sizes.memory, (height, width, self.channels))

    def draw(self, memory: Tensor) -> Tensor:
        """Predict pixels, trained towards [0, 1]: memory [..., D] -> [..., H, W, C]."""
        with self.precision(memory.device):
            pixels: Tensor = self.decoder(memory.reshape(-1, memory.shape[-1])).float()
        return pixels.reshape(*memory.shape[:-1], *pixels.shape[1:])

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return (value, mask) [T + 1, B]."""
        image = rollout.observation["image"][..., -self.channels :]
        error = self.draw(features.memory) - image * (1 / 255)
        return error.square().mean((-3, -2, -1)), torch.ones_like(rollout.first)
