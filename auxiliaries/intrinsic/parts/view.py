"""What intrinsic rewards look at: the newest frame of an image, averaged down, and vectors as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ....backbones.numerics import running_dtype
from ....envs.experience import Spec

CODES = 20
"""Side below which an image is a grid of codes, which are not averaged."""

FOLD = 4
"""Side of the squares of pixels that become channels for networks, whose first convolution has this stride."""

Views = dict[str, Tensor]
"""Views of N observations: "image" [N, C, h, w] float32 in [0, 255] and/or "vector" [N, V] float32."""


ROWS = 64
"""Images that are averaged at a time on a CPU, so that they stay in cache."""


def pieces(x: Tensor) -> tuple[Tensor, ...]:
    """Split ``x`` [N, ...] into parts of about 64 rows on a CPU; elsewhere it is the only one."""
    return x.tensor_split(max(1, len(x) // ROWS) if x.device.type == "cpu" else 1)


def shrunk(x: Tensor, factor: int, fold: int = 1) -> Tensor:
    """Average squares of ``factor`` by ``factor`` pixels: uint8 [N, H, W, C] to float32 [N, h, w, C], what is left over
    at the edges cut off. Sums are of integers, which is exact, and several times as fast as averaging numbers on a CPU.

    Squares of ``fold`` by ``fold`` averages become channels: [N, h / fold, w / fold, fold fold C].
    """
    n, height, width, channels = x.shape
    h, w = height // factor // fold, width // factor // fold
    dtype = torch.int16 if 255 * factor**2 < 2**15 else torch.int32
    found = torch.empty(n, h, w, fold, fold, channels, device=x.device)
    for some, into in zip(pieces(x[:, : h * fold * factor, : w * fold * factor]), pieces(found), strict=True):
        into = into.transpose(2, 3)  # as pixels are ordered in images
        if factor == 1:
            into.copy_(some.reshape(into.shape))
            continue
        rows = some.to(dtype).view(len(some), h, fold, factor, w, fold, factor, channels)
        first, *others = rows.unbind(3)
        first, *others = sum(others, start=first).unbind(5)
        torch.add(sum(others[1:], start=others[0]), first, out=into).div_(factor**2)
    return found.view(n, h, w, -1)


def mean(x: Tensor) -> Tensor:
    """Average all pixels: uint8 [N, H, W, C] to float32 [N, 1, 1, C]. Sums are of integers, first down the columns,
    which is several times as fast as over both axes at once.
    """
    n, height, width, channels = x.shape
    columns = torch.cat([some.flatten(2).sum(1, dtype=torch.int32) for some in pieces(x)])
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

    def __call__(self, observation: Mapping[str, Tensor], *, fold: bool = False) -> Views:
        """Return the views of N observations; N are all leading axes, row-major. ``fold``: images but for small grids
        and means as [N, 16 C, h // 4, w // 4], squares of pixels as channels, as networks read them.
        """
        found: Views = {}
        for name, shape in self.shapes.items():
            x = observation[name]
            if name == "image":
                frame = x[..., x.shape[-1] - self.channels :].flatten(0, -4)
                side = FOLD if fold and not self.small(name) else 1
                found[name] = (mean(frame) if self.whole else shrunk(frame, self.factor, side)).permute(0, 3, 1, 2)
            else:
                found[name] = x.reshape(-1, *shape).float()
        return found

    def kept(
        self, observation: Mapping[str, Tensor], change: Callable[[Views], Views] = dict, *, at_once: bool = False
    ) -> Views:
        """Return the views of observations [T, B, ...] after ``change`` (or unchanged), as [T, B, ...]: images channels
        last and in the precision of networks here, and folded unless they are small grids. On a CPU a few pass through
        all of that at a time, or all ``at_once``, so that what lies between stays in cache.
        """
        shape = next(iter(observation.values())).shape[:2]
        flat = [observation[name].flatten(0, 1) for name in self.shapes]
        found: Views = {}
        start = 0
        for some in [flat] if at_once else zip(*map(pieces, flat), strict=True):
            stop = start + len(some[0])
            for name, x in change(self(dict(zip(self.shapes, some, strict=True)), fold=True)).items():
                if name == "image":
                    x = x.permute(0, 2, 3, 1)
                if name not in found:
                    dtype = running_dtype(x.device) if name == "image" else x.dtype
                    found[name] = torch.empty(len(flat[0]), *x.shape[1:], dtype=dtype, device=x.device)
                found[name][start:stop] = x
            start = stop
        return {name: x.view(*shape, *x.shape[1:]) for name, x in found.items()}

    @property
    def whole(self) -> bool:
        """Return whether an image is seen as its mean."""
        return self.side == 1 and self.factor > 1

    def small(self, name: str) -> bool:
        """Return whether the image ``name`` is a grid of codes."""
        return name == "image" and name in self.shapes and min(self.shapes[name][1:]) < CODES and self.factor == 1


def taken(views: Views, environments: slice | Tensor = slice(None)) -> Views:
    """Return the views [N, ...] of some or all environments out of what was ``kept``, images as [N, C, h, w]."""
    some = {name: x[:, environments].flatten(0, 1) for name, x in views.items()}
    return {name: x.permute(0, 3, 1, 2) if x.dim() == 4 else x for name, x in some.items()}
