"""Image torsos: the Nature CNN and the two networks of IMPALA. uint8 [N, H, W, C] in, a map and a vector out."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Torso
from .numerics import running_dtype
from .rectified import convolve

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def orthogonal(layer: Layer, gain: float = math.sqrt(2)) -> Layer:
    """Initialise a layer with orthogonal weights (Saxe et al. 2014) and zero bias, as the A2C baselines do."""
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class ConvolutionalTorso(Torso):
    """Torso that scales pixels to [0, 1], then applies ``convolutions`` and one linear layer with ReLU.

    The simulators' [N, H, W, C] is torch's channels-last layout of [N, C, H, W]: the permutation copies nothing.
    """

    def __init__(self, shape: tuple[int, ...], convolutions: nn.Sequential, size: int) -> None:
        super().__init__()
        height, width, channels = shape
        self.convolutions = convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            try:
                sample = convolutions(torch.zeros(1, channels, height, width))
            except RuntimeError as error:
                if "Kernel size" not in str(error):
                    raise
                raise ValueError(
                    f"{type(self).__name__} cannot take images of {height}x{width}: they are smaller than its "
                    "filters; use a larger --frame-size or --torso deep."
                ) from error
        self.map_shape = tuple(sample.shape[1:])
        self.linear = orthogonal(nn.Linear(sample.numel(), size))
        self.size = size

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 [N, H, W, C] to the map [N, channels, h, w] and the vector [N, E]."""
        first = self.convolutions[0]
        # The weights are scaled instead of the pixels, which saves one pass over the pixels.
        pixels = x.permute(0, 3, 1, 2).to(running_dtype(x.device))
        y = convolve(pixels, first.weight * (1 / 255), first.bias, first.stride, first.padding)
        maps = self.convolutions[1:](y)
        return maps, F.relu(self.linear(maps.flatten(1)), inplace=True)


class NatureCNN(ConvolutionalTorso):
    """Convolutions 32 8x8/4, 64 4x4/2 and 64 3x3/1, then linear 512 (Mnih et al. 2015)."""

    def __init__(self, shape: tuple[int, ...], size: int = 512) -> None:
        layers: list[nn.Module] = []
        for channels_in, channels_out, kernel, stride in ((shape[-1], 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)):
            layers += [orthogonal(nn.Conv2d(channels_in, channels_out, kernel, stride)), nn.ReLU(inplace=True)]
        super().__init__(shape, nn.Sequential(*layers), size)


class ShallowCNN(ConvolutionalTorso):
    """Convolutions 16 8x8/4 and 32 4x4/2, then linear 256: the network of A3C and UNREAL.

    Espeholt et al. 2018, figure 3 left.
    """

    def __init__(self, shape: tuple[int, ...], size: int = 256) -> None:
        layers: list[nn.Module] = []
        for channels_in, channels_out, kernel, stride in ((shape[-1], 16, 8, 4), (16, 32, 4, 2)):
            layers += [orthogonal(nn.Conv2d(channels_in, channels_out, kernel, stride)), nn.ReLU(inplace=True)]
        super().__init__(shape, nn.Sequential(*layers), size)


class Residual(nn.Module):
    """Residual block ``x + conv(relu(conv(relu(x))))``, with 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = orthogonal(nn.Conv2d(channels, channels, 3, padding=1))
        self.second = orthogonal(nn.Conv2d(channels, channels, 3, padding=1), gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, h, w] to the same shape."""
        y: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + y


class DeepCNN(ConvolutionalTorso):
    """Three sections of 16, 32 and 32 channels, each conv 3x3, max-pool 3x3/2 and two residual blocks; then linear 256.

    Espeholt et al. 2018, figure 3 right. 84x84 frames flatten to 32 * 11 * 11 = 3872.
    """

    def __init__(self, shape: tuple[int, ...], size: int = 256) -> None:
        layers: list[nn.Module] = []
        channels_in = shape[-1]
        for channels in (16, 32, 32):
            layers += [
                orthogonal(nn.Conv2d(channels_in, channels, 3, padding=1), gain=1.0),
                nn.MaxPool2d(3, 2, padding=1),
                Residual(channels),
                Residual(channels),
            ]
            channels_in = channels
        super().__init__(shape, nn.Sequential(*layers, nn.ReLU()), size)
