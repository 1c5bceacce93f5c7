"""Cells of the image: the change of each cell, and a head with an output for each (Jaderberg et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....envs.experience import Spec

SMALLEST = 8
"""Minimum number of cells per side that a ``CellHead`` can produce, which a map of one location grows into."""


def cell_grid(height: int, width: int, cell: int) -> tuple[int, int]:
    """Return rows and columns of cells of ``cell`` pixels a side in a frame of this size, an even number of each: 84
    pixels are 20 cells of 4. ValueError for frames of fewer than two cells a side.
    """
    if cell < 1:
        raise ValueError(f"a cell is at least one pixel wide, not {cell}.")
    rows, columns = (side // cell // 2 * 2 for side in (height, width))
    if not rows or not columns:
        raise ValueError(
            f"frames of {height}x{width} are too small for two cells of {cell} pixels each way: use a larger "
            "--frame-size or smaller cells."
        )
    return rows, columns


def newest_channels(channels: int | None, spec: Spec) -> int:
    """Return how many of an image's last channels are the newest frame: ``channels`` or, if that is None, the channels
    of one of the stacked frames. ValueError if the image has fewer.
    """
    there = spec.observation["image"][0][-1]
    if channels is None:
        return there // spec.stacked
    if not 1 <= channels <= there:
        raise ValueError(f"frames here have {there} channels: the newest are 1 to {there} of them, not {channels}.")
    return channels


def cell_change(image: Tensor, cell: int, channels: int | None = None) -> Tensor:
    """Compute ``c[t] = mean |o[t + 1] - o[t]|`` over a cell's pixels and channels, pixels in [0, 1]: image [T + 1, B,
    H, W, C] uint8 -> [T, B, h, w] float32, (h, w) by ``cell_grid``.

    Frames are cropped about their centre. Only the last ``channels`` are compared; None: all. A row that crosses a
    reset compares two episodes: the caller has to mask it. ValueError as for ``cell_grid``.
    """
    height, width, there = image.shape[2:]
    h, w = cell_grid(height, width, cell)
    C = there if channels is None else channels
    top, left = (height - h * cell) // 2, (width - w * cell) // 2
    frames = image[..., top : top + h * cell, left : left + w * cell, there - C :]
    rows = []
    for before, after in pairwise(frames):  # only one row's difference is in memory at a time
        difference = torch.maximum(before, after) - torch.minimum(before, after)  # avoids wrap-around of uint8
        strips = difference.reshape(-1, cell, w * cell * C).sum(1, dtype=torch.int32)
        rows.append(strips.reshape(-1, h, w, cell * C).sum(-1, dtype=torch.int32))  # sums of integers are exact
    return torch.stack(rows) / (255 * cell * cell * C)


class CellHead(nn.Module):
    """Vectors [N, D] -> maps [N, channels, h, w], ``grid`` = (h, w): linear and ReLU to 32 maps of (h/2 - 3, w/2 - 3),
    transposed 3x3 and ReLU, transposed 4x4/2, which is ``last``.

    The paper describes 7x7 maps, a 4x4/2 layer and 20x20 cells, which that layer alone does not connect (it makes
    16x16): 7x7 -> 9x9 -> 20x20 is our interpretation. There is no ReLU at the end: outputs may be negative. ValueError
    for a grid that is odd or too small.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        grid: tuple[int, int],
        last: Callable[..., nn.ConvTranspose2d] = nn.ConvTranspose2d,
    ) -> None:
        super().__init__()
        if min(grid) < SMALLEST or any(side % 2 for side in grid):
            raise ValueError(
                f"a grid of {grid[0]}x{grid[1]} cells is not possible, it takes an even number each way, {SMALLEST} or "
                "more: use a larger --frame-size or smaller cells."
            )
        self.small = (32, grid[0] // 2 - 3, grid[1] // 2 - 3)
        self.linear = nn.Linear(inputs, math.prod(self.small))
        self.first = nn.ConvTranspose2d(32, 32, 3)
        self.second = last(32, channels, 4, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Compute maps: [N, D] -> [N, channels, h, w]."""
        # Channels last, as in the torsos: on a CPU the transposed 3x3 then takes a third of the time.
        y = F.relu(self.linear(x)).reshape(-1, *self.small).contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.second(F.relu(self.first(y), inplace=True))
        return maps
