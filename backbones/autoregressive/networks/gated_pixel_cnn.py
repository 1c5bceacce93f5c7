"""The gated PixelCNN (van den Oord et al., "Conditional image generation with PixelCNN decoders", NIPS 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..orderings import Ordering
from .grid import ImageNetwork
from .masked import MaskedConv2d


class GatedPixelCNN(ImageNetwork):
    """Gated PixelCNN: two stacks, which together see every earlier pixel, without a blind spot.

    The *vertical* stack at (i, j) summarises the rows above i; its first layer reads rows i - r - 1 to i - 1, later
    layers rows i - r to i of the stack. The *horizontal* stack reads its own row to the left, and the vertical stack.
    Each layer is gated: ``tanh(a) . sigmoid(b)``, with the side information in both. The output is the sum of the
    skips.
    """

    def __init__(
        self,
        ordering: Ordering,
        width: int,
        cond: int = 0,
        memory: int = 0,
        *,
        size: int = 32,
        layers: int = 4,
        kernel: int = 3,
        first: int = 7,
    ) -> None:
        super().__init__(ordering, cond, memory)
        self.size, groups = size, self.groups
        self.layers = nn.ModuleList(
            _Layer(groups * (size if i else width), groups * size, self.cond, kernel if i else first, groups, i, layers)
            for i in range(layers + 1)
        )

    def draw(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """Map [B, groups * width, H, W] to [B, groups * size, H, W]."""
        vertical, horizontal, skips = x, x, []
        for layer in self.layers:
            vertical, horizontal, skip = layer(vertical, horizontal, cond)
            skips.append(skip)
        return F.relu(torch.stack(skips).sum(0))


class _Layer(nn.Module):
    """Layer number ``i``; nothing reads the vertical stack and the residual of the ``last`` one."""

    def __init__(self, inputs: int, size: int, cond: int, kernel: int, groups: int, i: int, last: int) -> None:
        super().__init__()
        self.begins, self.reach = i == 0, kernel // 2
        stacks = 1 if i == last else 2  # the horizontal stack comes first
        self.vertical = nn.Conv2d(inputs, 2 * size, (self.reach + 1, kernel), padding=(0, self.reach))
        # One row of pixels: a mask of height 1.
        self.horizontal = MaskedConv2d(inputs, 2 * size, kernel, groups, strict=self.begins, row=True)
        self.across = MaskedConv2d(2 * size, 2 * size, 1, groups, strict=False)
        self.conds = nn.ModuleList(MaskedConv2d(cond, 2 * size, 1, groups, strict=False) for _ in range(stacks) if cond)
        self.skip = MaskedConv2d(size, size, 1, groups, strict=False)
        self.residual = None if i == last else MaskedConv2d(size, size, 1, groups, strict=False)
        self.groups = groups

    def forward(self, vertical: Tensor, horizontal: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next maps of both stacks, and the skip."""
        rows = F.pad(vertical, (0, 0, self.reach + self.begins, 0))
        v = self.vertical(rows[..., : vertical.shape[-2] + self.reach, :])
        h = self.horizontal(horizontal) + self.across(v)
        if cond is not None:
            h = h + self.conds[0](cond)
        z = self._gate(h)
        skip = self.skip(z)
        if self.residual is None:
            return vertical, horizontal, skip
        if cond is not None:
            v = v + self.conds[1](cond)
        out = self.residual(z)
        return self._gate(v), out if self.begins else horizontal + out, skip

    def _gate(self, x: Tensor) -> Tensor:
        """Combine values and gates of each group into [B, size, H, W]."""
        value, gate = torch.unflatten(x, 1, (self.groups, 2, -1)).unbind(2)
        return (torch.tanh(value) * torch.sigmoid(gate)).flatten(1, 2)
