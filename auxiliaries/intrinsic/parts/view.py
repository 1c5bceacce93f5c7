"""What intrinsic rewards look at: the newest frame of an image, averaged down, and vectors as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ....backbones.numerics import running_dtype
from ....envs.experience import Spec

CODES = 20
"""Side below which an image is a grid of codes, which are not averaged."""

Views = dict[str, Tensor]
"""Views of N observations: "image" [N, C, h, w] float32 in [0, 255] and/or "vector" [N, V] float32."""


ROWS = 64
"""Images that are averaged at a time on a CPU, so that they stay in cache."""


def shrunk(x: Tensor, factor: int) -> Tensor:
    """Average squares of ``factor`` by ``factor`` pixels: uint8 [N, H, W, C] to float32 [N, h, w, C], what is left over
    at the edges cut off. Sums are of integers, which is exact, and six times as fast as averaging numbers on a CPU.
    """
    if factor == 1:
        return x.float()
    n, height, width, channels = x.shape
    h, w = height // factor, width // factor
    dtype = torch.int16 if 255 * factor**2 < 2**15 else torch.int32
    parts = []
    pieces = max(1, n // ROWS) if x.device.type == "cpu" else 1
    for some in x[:, : h * factor, : w * factor].tensor_split(pieces):
        squares = some.reshape(-1, h, factor, w, factor * channels)
        strips = squares[:, :, 0].to(dtype)
        for i in range(1, factor):
            strips = strips + squares[:, :, i]
        columns = strips.tensor_split(factor, dim=-1)
        parts.append(sum(columns[1:], start=columns[0]))
    return torch.cat(parts).float().div_(factor**2)


def mean(x: Tensor) -> Tensor:
    """Average all pixels: uint8 [N, H, W, C] to float32 [N, 1, 1, C]. Sums are of integers, first down the columns,
    which is several times as fast as over both axes at once.
    """
    n, height, width, channels = x.shape
    pieces = x.tensor_split(max(1, n // ROWS) if x.device.type == "cpu" else 1)
    columns = torch.cat([some.flatten(2).sum(1, dtype=torch.int32) for some in pieces])
    total = columns.view(n, width, channels).sum(1)
    return total.view(n, 1, 1, channels).float().div_(height * width)


class View:
    """Looks at observations [..., H, W, C] and [..., V]. ``shapes`` are those of one view, by name.

    Images are averaged over squares of pixels, as large as leave ``side`` pixels each way; if that is 1, over all of
    the image. Grids of codes, of fewer than 20 cells a side, are left as they are; neither its shape nor its dtype
    tells a larger one from a picture, and it is averaged like one. Of stacked frames the newest is seen.
    """

    def __init__(self, spec: Spec, side: int) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.factor, self.channels, self.side = 1, 0, side
        for name, (shape, _) in sorted(spec.observation.items()):
            if name == "image":
                height, width, channels = shape
                self.channels = channels // spec.stacked
                self.factor = 1 if min(height, width) < CODES else max(1, min(height, width) // side)
                if self.whole:
                    height, width = self.factor, self.factor
                self.shapes[name] = (self.channels, height // self.factor, width // self.factor)
            else:
                self.shapes[name] = tuple(shape)

    def __call__(self, observation: Mapping[str, Tensor]) -> Views:
        """Return the views of N observations; N are all leading axes, row-major."""
        found: Views = {}
        for name, shape in self.shapes.items():
            x = observation[name]
            if name == "image":
                frame = x[..., x.shape[-1] - self.channels :].flatten(0, -4)
                found[name] = (mean(frame) if self.whole else shrunk(frame, self.factor)).permute(0, 3, 1, 2)
            else:
                found[name] = x.reshape(-1, *shape).float()
        return found

    @property
    def whole(self) -> bool:
        """Return whether an image is seen as its mean."""
        return self.side == 1 and self.factor > 1

    def small(self, name: str) -> bool:
        """Return whether the image ``name`` is a grid of codes."""
        return name == "image" and name in self.shapes and min(self.shapes[name][1:]) < CODES and self.factor == 1


def kept(views: Views, shape: Sequence[int]) -> Views:
    """Return views [N, ...] as [*shape, ...], N = T x B: images channels last, as they lie in memory, and in the
    precision of networks here.
    """
    found = {}
    for name, x in views.items():
        if x.dim() == 4:
            x = x.permute(0, 2, 3, 1).to(running_dtype(x.device))
        found[name] = x.view(*shape, *x.shape[1:])
    return found


def taken(views: Views, environments: slice = slice(None)) -> Views:
    """Return the views [N, ...] of some or all environments out of what was ``kept``."""
    some = {name: x[:, environments].flatten(0, 1) for name, x in views.items()}
    return {name: x.permute(0, 3, 1, 2) if x.dim() == 4 else x for name, x in some.items()}
