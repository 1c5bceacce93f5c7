"""Networks of the intrinsic rewards' own: they embed views, and never share weights with the agent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....backbones.rectified import convolve_few, flattened, folded
from ....backbones.repeats import distinct, repeat
from .view import FOLD, View, Views

CHUNK_VALUES = 2**23
"""Values of views per chunk on a CPU, so that the activations of large rollouts do not fill its memory."""


def convolutions(shape: Sequence[int], small: bool, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Build convolutions for views [C, h, w]: 32 8x8/4 and 64 4x4/2, the first two of the Nature CNN (the
    third has no room in 42x42), or 32, 32 and 128 3x3/2 for a small grid (Raileanu & Rocktäschel 2020).
    """
    channels = shape[0]
    if small:
        kinds = [(32, 3, 2, 1), (32, 3, 2, 1), (128, 3, 2, 1)]
    else:
        kinds = [(32, 2 * FOLD, FOLD, 0), (64, 4, 2, 0)]
    layers: list[nn.Module] = []
    for width, kernel, stride, padding in kinds:
        layers += [nn.Conv2d(channels, width, kernel, stride, padding), activation()]
        channels = width
    return nn.Sequential(*layers)


def perceptron(widths: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Build linear layers of these ``widths``, with activations between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def orthogonal(module: nn.Module, gain: float = math.sqrt(2)) -> nn.Module:
    """Initialise all layers of ``module`` with orthogonal weights and zero biases, and return it."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight, gain)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return module


def once(function: Callable[[Views], Tensor], views: Views, small: bool) -> Tensor:
    """Return ``function(views)`` [N, ...], computed once for each distinct ``small`` grid on a CPU."""
    if len(views) > 1 or not small or views["image"].device.type != "cpu":
        return function(views)
    images, index = distinct(views["image"])
    return repeat(function({"image": images}), index)


class Embedding(nn.Module):
    """Convolutions on the image of a view, joined with its vector, and linear layers of ``widths``: views of N
    observations -> [N, widths[-1]], or the convolutions' output if there are no ``widths``.

    Images come as [N, C, h, w] or, as their channels tell, folded (`View.kept`). Runs in bfloat16 where autocast is on,
    and on a CPU in chunks. Pixels are in units of ``scale``.
    """

    def __init__(
        self, view: View, widths: Sequence[int] = (), activation: Callable[[], nn.Module] = nn.ELU, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.small = view.small("image")
        self.inputs = {name: math.prod(shape) for name, shape in view.shapes.items()}
        self.convolutions: nn.Sequential | None = None
        size = self.inputs.get("vector", 0)
        if "image" in view.shapes:
            shape = view.shapes["image"]
            self.convolutions = convolutions(shape, self.small, activation)
            size += self.convolutions(torch.zeros(1, *shape)).numel()
        self.layers = perceptron((size, *widths), activation) if widths else nn.Identity()
        self.size = widths[-1] if widths else size

    def forward(self, views: Views) -> Tensor:
        """Embed views of N observations, float32 [N, size]."""
        return once(self._chunks, views, self.small)

    def _chunks(self, views: Views) -> Tensor:
        rows = max(1, CHUNK_VALUES // max(self.inputs.values()))
        x = next(iter(views.values()))
        pieces = max(1, round(len(x) / rows)) if x.device.type == "cpu" else 1
        chunks = zip(*(v.tensor_split(pieces) for v in views.values()), strict=True)
        found = [self._embed(dict(zip(views, chunk, strict=True))) for chunk in chunks]
        return torch.cat(found) if len(found) > 1 else found[0]

    def _embed(self, views: Views) -> Tensor:
        parts = []
        if self.convolutions is not None:
            first, *others = self.convolutions
            assert isinstance(first, nn.Conv2d)
            images, stride = views["image"], first.stride
            weight = first.weight / self.scale  # rather than each pixel
            if images.shape[1] > weight.shape[1]:
                weight, stride = folded(weight, FOLD, FOLD), (1, 1)
            y = F.conv2d(images, weight, first.bias, stride, first.padding)
            for layer in others:
                y = convolve_few(y, layer) if isinstance(layer, nn.Conv2d) else layer(y)
            parts.append(flattened(y))
        if "vector" in views:
            parts.append(views["vector"])
        joined = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        found: Tensor = self.layers(joined)
        return found.float()


def random_features(view: View, size: int) -> Embedding:
    """Build a fixed, random embedding of views (Burda et al. 2018, large-scale study)."""
    embedding = Embedding(view, (size,), partial(nn.LeakyReLU, 0.2))
    orthogonal(embedding)
    return embedding.requires_grad_(False)
